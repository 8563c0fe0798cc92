"""Child processes of ours: how one is started, given its task, listened to and ended, and why one failed.

A child runs a module of ours in a new Python (`child.py` is its side). It imports this very package, and everything
else from where this process would, but never from the working folder, in which anyone may have put a `queue.py`; it
is as isolated as this process (`python -I` and its kin); and it ends when this process does, however that happens.
"""

import contextlib
import json
import logging
import os
import secrets
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any

import numpy as np

from bge_cpu.errors import BgeCpuError

_PACKAGE = Path(__file__).parents[1] / "__init__.py"
_FLAGS = {"isolated": "-I", "ignore_environment": "-E", "no_user_site": "-s", "no_site": "-S", "safe_path": "-P"}
_FLAGS |= {"dont_write_bytecode": "-B"}
_LINES_KEPT = 20  # of what a child writes to stderr
_SECONDS_TO_EXIT = 5  # for a child that is done


class ChildFailed(BgeCpuError):
    """A child process ended without its answers; the message says why."""


def ask(module: str, task: Any) -> Any:
    """The one answer of a child process; arguments and errors are those of `answers`."""
    (answer,) = answers(module, task)
    return answer


def answers(module: str, task: Any) -> Generator[Any, None, None]:
    """Run `answers(task)` of a module of ours in a new Python, and yield what it yields, as it does.

    What our modules log there is logged here. Whatever else the child writes, to stdout or stderr, does no harm. It is
    killed when the iterator is left early.

    Args:
        module: The module's whole name.
        task: What its function is given; like the answers, something that JSON can hold.

    Raises:
        ChildFailed: It could not be started, raised an error or was killed.
    """
    mark = secrets.token_hex(16)  # before a line that is an answer
    command = [sys.executable, *_isolation(), str(Path(__file__).with_name("child.py"))]
    command += [module, mark, str(_PACKAGE), *_path()]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    pipe = subprocess.PIPE
    try:
        child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
    except OSError as error:
        raise ChildFailed(f"Python ({sys.executable}) could not be started: {error.strerror}") from error
    errors: deque[bytes] = deque(maxlen=_LINES_KEPT)
    assert child.stdin and child.stdout and child.stderr  # as asked for above
    telling = threading.Thread(target=_tell, args=(child.stdin, task), daemon=True)
    reading = threading.Thread(target=errors.extend, args=(child.stderr,), daemon=True)
    try:
        telling.start()
        reading.start()
        for line in child.stdout:
            kind, _, content = line.removeprefix(mark.encode()).partition(b" ")
            if not line.startswith(mark.encode()):
                continue
            if kind == b"done":
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(_SECONDS_TO_EXIT)
                return
            if kind == b"log":
                name, level, message = json.loads(content)
                logging.getLogger(name).log(level, "%s", message)
                continue
            if kind == b"failed":
                message, hint = json.loads(content)
                raise ChildFailed(message, hint=hint)
            yield json.loads(content)
        code = child.wait()
        reading.join(1)  # a process of the child's may hold its stderr open
        raise ChildFailed(why_it_failed(code, b"".join(errors).decode(errors="replace")))
    finally:
        child.kill()
        child.wait()
        telling.join(1)
        reading.join(1)
        for stream in (child.stdin, child.stdout, *([] if reading.is_alive() else [child.stderr])):
            with contextlib.suppress(OSError):  # what was left to be written has no reader any more
                stream.close()


def why_it_failed(code: int, output: str) -> str:
    r"""Why a child process ended without an answer, from its exit code and what it wrote.

    >>> why_it_failed(1, "Traceback ...\nMemoryError")
    'MemoryError'
    >>> why_it_failed(-9, "a warning")
    'it was killed by signal 9; for lack of memory, perhaps'
    """
    if code < 0:
        return f"it was killed by signal {-code}; for lack of memory, perhaps"
    return (output.strip().splitlines() or [f"it ended with {code}"])[-1]


def _tell(stdin: IO[bytes], task: Any) -> None:
    """Write a child its task. The pipe stays open: it closes when this process dies, and then the child ends."""
    with contextlib.suppress(OSError):  # the child has ended; its exit code says more
        stdin.write(json.dumps(task).encode() + b"\n")
        stdin.flush()


def _isolation() -> list[str]:
    """The options that this Python was started with, as far as they say what it reads and imports."""
    flags = [option for name, option in _FLAGS.items() if getattr(sys.flags, name, False)]
    values = [name if value is True else f"{name}={value}" for name, value in sys._xoptions.items()]
    return flags + [part for value in values for part in ("-X", value)]


def _path() -> list[str]:
    """Where this process imports from, PYTHONPATH included, but for the working folder.

    That is on the path only if the packages that this process runs are installed there, as in AWS Lambda.
    """
    try:
        here = os.path.realpath(os.getcwd())
    except FileNotFoundError:  # it was removed
        return [entry for entry in sys.path if os.path.isabs(entry)]
    installed = os.path.realpath(Path(np.__file__).parents[1])
    entries = [os.path.abspath(entry) for entry in sys.path if entry]
    return [entry for entry in entries if os.path.realpath(entry) != here or here == installed]
