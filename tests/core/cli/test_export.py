"""`bge-cpu export`, as a process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bge_cpu.checkpoint.record import recorded_mode
from bge_cpu.engines import default_mode
from tests.commands import COMMAND


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX limits")
def test_a_write_error_leaves_nothing(tiny_xlmr: Path, tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys\nfrom bge_cpu.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "main(['export', *sys.argv[1:], '--mode', 'onnx'])"
    )
    command = [sys.executable, "-c", script, str(tiny_xlmr), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path / 'out'} cannot be written: File too large\nhint: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_command_line(tiny_xlmr: Path, tmp_path: Path) -> None:
    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*COMMAND, "export", *map(str, arguments)], capture_output=True, text=True, timeout=120)

    out = tmp_path / "new" / "out"
    done = run(tiny_xlmr, out, "--mode", "onnx")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{out}\n", "")
    assert recorded_mode(out) == "onnx"
    for arguments, code, message in [
        ((tiny_xlmr, out, "--mode", "onnx"), 2, "is not an empty folder\nhint: "),
        ((tiny_xlmr, tmp_path / "b", "--mode", "int4"), 2, "error: mode of an export is one of onnx, onnx-int8"),
        ((tiny_xlmr, tmp_path / "b", "--mode", "onnx", "--revision", "v1"), 2, "error: revision='v1' is for Hub ids"),
        ((tmp_path, tmp_path / "b", "--mode", "onnx"), 1, "error: "),
        (("no/body", tmp_path / "b", "--mode", "onnx", "--local-files-only"), 1, "is not in the Hub's cache"),
    ]:
        done = run(*arguments)
        assert done.returncode == code, done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    options = ("--cache-dir", tmp_path / "cache", "--min-fidelity", "none")
    done = run(tiny_xlmr, tmp_path / "int8", *options)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'int8'}\n"), done.stderr
    assert recorded_mode(tmp_path / "int8") == default_mode()
    assert done.stderr.splitlines() == [
        f"exporting for mode {default_mode()}, the fastest here; --mode names another",
        f"building the INT8 artifact of {tiny_xlmr} for mode {default_mode()}, once: some seconds",
    ]
