"""Brackets in a path are part of it, not rich's markup, wherever a verb shows one."""

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.commands import COMMAND


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
def test_progress_bars_show_any_path(tiny_xlmr: Path, tmp_path: Path) -> None:
    """Both bars of an export, that of the build and that of the writing, on a terminal."""
    model = tmp_path / "[/b] model"
    model.parent.mkdir()
    model.symlink_to(tiny_xlmr)
    command = [*COMMAND, "export", str(model), str(tmp_path / "[/i] out"), "--mode", "onnx-int8"]
    command += ["--min-fidelity", "none", "--cache-dir", str(tmp_path / "[/u] cache")]
    terminal, end = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "300"}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=end, stdin=subprocess.DEVNULL, env=environment)
    os.close(end)
    shown = b""
    while True:
        try:
            block = os.read(terminal, 4096)
        except OSError:  # the child has closed its side
            break
        shown += block
    os.close(terminal)
    out, _ = child.communicate(timeout=60)
    assert child.returncode == 0, shown
    assert b"[/b] model" in shown and b"[/i] out" in shown
    assert out.decode().strip() == str(tmp_path / "[/i] out")
    assert (tmp_path / "[/i] out/model.onnx").is_file()
