"""Everything bge-cpu raises on purpose.

    BgeCpuError
    ├── MissingDependencyError (ImportError)   a mode's framework is not installed
    ├── CheckpointError                        a checkpoint cannot be found, read, trusted or run
    ├── ArtifactError                          an INT8 artifact cannot be built or kept
    ├── FidelityError                          INT8 would cost this checkpoint too much of its ranking
    ├── ServiceError                           a running service cannot be reached, or refused
    └── InputError (ValueError)                an argument or a text is of the wrong type or value

An error says what came and what was allowed; where there is a way out, a second line gives it as a hint. What is worth
saying but stops nothing is a warning, which `warn` attributes to the caller's line.
"""

import sys
import warnings

_NOT_THE_CALLER = frozenset(
    {"bge_cpu", "langchain_bge_cpu", "llamaindex_bge_cpu"}  # ourselves
    | {"langchain_core", "langchain_classic", "llama_index", "llama_index_instrumentation", "pydantic", "wrapt"}
    | {"contextlib", "functools"}
)
"""Packages whose frames lie between a user's line and a warning of ours."""


class BgeCpuError(Exception):
    """Base of all errors of bge-cpu.

    Args:
        message: What came and what was allowed, as one line.
        hint: What to do about it, as one line.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = str(self.args[0])
        return f"{message}\nhint: {self.hint}" if self.hint else message


class MissingDependencyError(BgeCpuError, ImportError):
    """A mode's framework is not installed; the hint names the extra that brings it."""


class CheckpointError(BgeCpuError):
    """A checkpoint cannot be found, read, trusted or run."""


class ArtifactError(BgeCpuError):
    """An INT8 artifact cannot be built or kept; nothing half-made is left."""


class FidelityError(BgeCpuError):
    """INT8 would cost this checkpoint too much of its ranking; the message has the figures, the hint the remedies."""


class ServiceError(BgeCpuError):
    """A running service cannot be reached, or refused.

    Attributes:
        status: Its HTTP status; None where no answer came.
    """

    def __init__(self, message: str, *, hint: str = "", status: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class InputError(BgeCpuError, ValueError):
    """An argument or a text is of the wrong type or value; nothing was scored."""


def shown(value: object, most: int = 40) -> str:
    """A value as a message may show it: its repr, but never more than a few characters of a text.

    >>> shown("x" * 1_000_000, 12)
    "'xxxxxxxx..."
    """
    try:
        text = repr(value[:most] if isinstance(value, str | bytes) else value)
    except Exception:  # a number of thousands of digits, lists within lists without end
        return f"<{type(value).__name__}>"
    return text if len(text) <= most else text[: most - 3] + "..."


def warn(message: str) -> None:
    """Warn the user (UserWarning), naming the line of theirs that called us, directly or through a framework.

    In a thread that a framework started no such line is on the stack; then it is the thread's outermost one.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] in _NOT_THE_CALLER:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)
