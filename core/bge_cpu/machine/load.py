"""What else runs on this machine's CPUs while something of ours is measured."""

import os
import time
from pathlib import Path

_BUSY = (1, 2, 3, 6, 7, 8)  # columns of /proc/stat: user, nice, system, interrupts (two), and what the host stole


def busy_seconds(root: Path = Path("/")) -> float | None:
    """CPU time that all processes on the CPUs of this one have taken since the start; None where Linux does not tell.

    Args:
        root: Where /proc lies.
    """
    mine = {f"cpu{number}" for number in _cpus()}
    try:
        rows = [line.split() for line in (root / "proc/stat").read_text().splitlines() if line.startswith("cpu")]
        ticks = [sum(int(row[column]) for column in _BUSY) for row in rows if row[0] in mine]
    except (OSError, ValueError, IndexError):
        return None
    return sum(ticks) / os.sysconf("SC_CLK_TCK") if ticks else None


class Others:
    """Measures which share of this process's CPUs other processes take from now on.

    Children of this process count as its own once they have ended and been waited for.

    Args:
        root: Where /proc lies.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._start = self._now()

    def share(self) -> float | None:
        """The share since the start, 0..1; None where Linux does not tell."""
        (began, busy, own), (ends, busy_now, own_now) = self._start, self._now()
        if busy is None or busy_now is None or ends <= began:
            return None
        others = (busy_now - busy) - (own_now - own)
        return min(1.0, max(0.0, others / ((ends - began) * len(_cpus()))))

    def _now(self) -> tuple[float, float | None, float]:
        """The time; what all took, and what this process and its ended children did, in seconds."""
        times = os.times()
        return time.perf_counter(), busy_seconds(self._root), sum(times[:4])


def _cpus() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))
