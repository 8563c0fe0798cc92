"""The command itself: its version, its other name, and what it shows of the library's log."""

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from bge_cpu import Reranker
from bge_cpu.engines import default_mode
from tests.commands import Call, caller, run

call = pytest.fixture(caller)


def test_version_and_the_other_name(call: Call) -> None:
    assert call("--version") == (0, f"bge-cpu {version('bge-cpu')}\n", "")
    done = subprocess.run([sys.executable, "-m", "bge_cpu", "--version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"bge-cpu {version('bge-cpu')}\n", "")


def test_a_first_start_says_what_it_does_and_how_long_it_takes(tiny_xlmr: Path, tmp_path: Path) -> None:
    command = [
        "rank",
        "q",
        "a",
        "--model",
        str(tiny_xlmr),
        "--cache-dir",
        str(tmp_path / "cache"),
        "--min-fidelity",
        "0",
    ]
    first, second = run(*command), run(*command)
    assert first.returncode == 0
    assert first.stderr.splitlines() == [
        f"building the INT8 artifact of {tiny_xlmr} for mode {default_mode()}, once: some seconds",
        f"comparing {default_mode()} of {tiny_xlmr} with float32 on 64 pairs, once: some seconds",
    ]
    assert second.stderr == ""
    assert first.stdout == second.stdout


def test_the_library_says_nothing_by_itself(tiny_xlmr: Path, tmp_path: Path, call: Call) -> None:
    code = (
        "import sys; from bge_cpu import Reranker; Reranker.load(sys.argv[1], cache_dir=sys.argv[2], min_fidelity=0.0)"
    )
    command = [sys.executable, "-c", code, str(tiny_xlmr), str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_command_leaves_no_log_behind(
    tiny_xlmr: Path, tmp_path: Path, call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, err = call("rank", "q", "a", "--model", tiny_xlmr, "--cache-dir", tmp_path / "one", "--min-fidelity", "none")
    assert re.fullmatch(r"building the INT8 artifact of .* once: some seconds\n", err)
    Reranker.load(tiny_xlmr, cache_dir=tmp_path / "other", min_fidelity=None)
    assert capsys.readouterr() == ("", "")
