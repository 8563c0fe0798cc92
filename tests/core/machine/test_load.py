"""The share of the CPUs that other processes take, from made-up clocks and from a real process that is busy."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bge_cpu.machine.load import Others, busy_seconds
from tests.machines import tree

TICKS = os.sysconf("SC_CLK_TCK")
BUSY = "while True: pass"


def stat(*seconds: float) -> str:
    """/proc/stat of CPUs of which each was busy for so many seconds, in all the ways that count, and idle for 1,000."""
    rows = [" ".join(str(int(part * TICKS)) for part in (each, 0, 0, 1000, 7, 0, 0, 0, 0, 0)) for each in seconds]
    return (
        "cpu  9 9 9 9 9 9 9 9 0 0\n" + "".join(f"cpu{number} {row}\n" for number, row in enumerate(rows)) + "intr 5\n"
    )


def test_only_the_cpus_of_this_process_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path, {"proc/stat": stat(10, 20, 40)})
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 2}, raising=False)
    assert busy_seconds(root) == 50
    assert busy_seconds(tmp_path / "nowhere") is None
    assert busy_seconds(tree(tmp_path / "odd", {"proc/stat": "cpu0 many\n"})) is None


def test_the_share_leaves_out_this_process_and_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, own = [0.0], [0.0]
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    monkeypatch.setattr(os, "times", lambda: os.times_result((0.0, 0.0, own[0], 0.0, clock[0])))
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    root = tree(tmp_path, {"proc/stat": stat(100, 100)})
    others = Others(root)
    clock[0], own[0] = 10.0, 12.0  # of 20 CPU seconds ours took 12, and all together 15
    tree(root, {"proc/stat": stat(108, 107)})
    assert others.share() == pytest.approx(0.15)
    own[0] = 16.0  # clocks that tick apart
    assert others.share() == 0
    (root / "proc/stat").unlink()
    assert others.share() is None


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="needs /proc/stat")
def test_a_busy_stranger_is_seen_and_an_own_child_is_not() -> None:
    others = Others()
    subprocess.run(
        [sys.executable, "-c", "import time\nend = time.time() + 1\nwhile time.time() < end: pass"], check=True
    )
    quiet = others.share()
    others = Others()
    stranger = subprocess.Popen([sys.executable, "-c", BUSY])  # not waited for: it counts as anyone else's
    time.sleep(1)
    share = others.share()
    stranger.kill()
    stranger.wait()
    assert quiet is not None and share is not None
    assert 0 <= quiet <= 1 and 0 < share <= 1
