"""The command `bge-cpu`, as a process of its own or in this one."""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from bge_cpu.cli import main

COMMAND = [sys.executable, "-c", "from bge_cpu.cli import main; main()"]

Ran = tuple[int, str, str]
"""Exit code, stdout, stderr."""

Call = Callable[..., Ran]


def run(
    *arguments: str | Path, stdin: str | bytes = "", environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command as a process; `environ` is added to the environment."""
    data = stdin.encode() if isinstance(stdin, str) else stdin
    command = [*COMMAND, *map(str, arguments)]
    done = subprocess.run(command, input=data, capture_output=True, timeout=120, env=os.environ | (environ or {}))
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def caller(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """A function that runs the command in this process, 80 columns wide."""
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # `main` sets it
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments: str | Path) -> Ran:
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments)])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return call
