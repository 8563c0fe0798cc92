"""Which extra of bge-cpu brings a package that is not installed; the one place that says so."""

from collections.abc import Iterator
from contextlib import contextmanager

from bge_cpu.errors import MissingDependencyError

_OURS = ("bge_cpu", "langchain_bge_cpu", "llamaindex_bge_cpu")


@contextmanager
def needed(extra: str, what: str) -> Iterator[None]:
    """Within the block, a package that cannot be found becomes an error that names the extra to install.

    Args:
        extra: The extra that brings every package imported in the block, for instance "torch".
        what: What needs it, for the message: "mode 'fp32'".

    Raises:
        MissingDependencyError: A package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in _OURS:
            raise
        raise MissingDependencyError(
            f"{what} needs {package}, which is not installed", hint=f"pip install 'bge-cpu[{extra}]'"
        ) from error
