"""Child processes of ours: how one is started, given its task and asked for an answer, and why one failed."""

import json
import subprocess
import sys
from typing import Any


class ChildFailed(Exception):
    """A child process ended without an answer; the message says why."""


def command(module: str) -> list[str]:
    """The command that runs a module of ours in a new Python."""
    return [sys.executable, "-m", module]


def ask(module: str, task: Any) -> Any:
    """Run a module of ours in a new Python: it reads its task from stdin and writes its answer to stdout, as JSON.

    Raises:
        ChildFailed: It ended with a code other than 0.
    """
    child = subprocess.run(command(module), input=json.dumps(task), capture_output=True, text=True)
    if child.returncode:
        raise ChildFailed(why_it_failed(child.returncode, child.stderr))
    return json.loads(child.stdout)


def why_it_failed(code: int, output: str) -> str:
    r"""Why a child process ended with a code other than 0, from that code and what it wrote.

    >>> why_it_failed(1, "Traceback ...\nMemoryError")
    'MemoryError'
    >>> why_it_failed(-9, "a warning")
    'it was killed by signal 9; for lack of memory, perhaps'
    """
    if code < 0:
        return f"it was killed by signal {-code}; for lack of memory, perhaps"
    return (output.strip().splitlines() or [f"it ended with {code}"])[-1]
