"""A child process's side of `children.py`, which runs this file by its path: `child.py MODULE MARK PACKAGE PATH...`.

It reads its task from stdin, a line of JSON, and writes each answer to stdout, a line of JSON behind the mark; and so
what our own modules log.
"""

import sys

if __name__ == "__main__":
    sys.path[:] = sys.argv[4:]  # before anything is imported that is not built in

import importlib
import importlib.util
import json
import logging
import os
import threading
from typing import Any


def main(module: str, mark: str, package: str) -> None:
    """Do the task."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    with open(0, "rb", closefd=False) as stdin:
        task = json.loads(stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def say(kind: str, content: Any = None) -> None:
        out.write(f"\n{mark}{kind} {json.dumps(content)}\n".encode())  # a line of its own, whatever was printed before
        out.flush()

    class ToParent(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say("log", [record.name, record.levelno, record.getMessage()])

    logging.getLogger("bge_cpu").addHandler(ToParent())
    logging.getLogger("bge_cpu").setLevel(logging.INFO)

    try:
        _import_package(package)
        for answer in importlib.import_module(module).answers(task):
            say("answer", answer)
        say("done")
    except Exception as error:
        ours = hasattr(error, "hint")
        words = str(error.args[0] if ours else error).strip() or type(error).__name__
        say("failed", [words if ours else words.splitlines()[0], getattr(error, "hint", "")])


def _import_package(file: str) -> None:
    """Import the very package that the parent runs, wherever else one of its name may lie."""
    spec = importlib.util.spec_from_file_location("bge_cpu", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} cannot be imported")
    package = sys.modules["bge_cpu"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)


def _end_with_parent() -> None:
    """The parent never closes the pipe; the system does, when the parent dies."""
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:4])
