"""How much memory this process may use: the machine's, and what its control groups leave of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bge_cpu.machine.cgroup import cgroups


@dataclass(frozen=True)
class Memory:
    """Memory in bytes.

    Attributes:
        capacity: What the process could ever get: the machine's memory, or the smallest cgroup limit below that.
        available: What it can get now without swapping; page cache that the kernel would drop counts as available.
        limited: Whether a cgroup sets the capacity.
    """

    capacity: int
    available: int
    limited: bool


def memory(root: Path = Path("/")) -> Memory | None:
    """The memory that this process may use, from /proc/meminfo and cgroups v2 or v1; None where Linux does not tell.

    Args:
        root: Where /proc and /sys lie.
    """
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        figures = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
        total, available = figures["MemTotal"], figures["MemAvailable"]
    except (OSError, ValueError, IndexError, KeyError):
        return None
    groups = list(_limits(root))
    capacity = min([total, *(limit for limit, _ in groups)])
    left = [max(0, limit - used) for limit, used in groups]
    return Memory(capacity, min([available, *left]), capacity < total)


def _limits(root: Path) -> Iterator[tuple[int, int]]:
    """The limit and the use of each control group, from this process's up, that limits its memory."""
    for group in cgroups("memory", root):
        limit = _number(group / "memory.max") or _number(group / "memory.limit_in_bytes")
        if limit is not None:
            used = _number(group / "memory.current") or _number(group / "memory.usage_in_bytes") or 0
            yield limit, used - _droppable(group)


def _number(file: Path) -> int | None:
    """The number in a file; None where there is no file, or "max" in it."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _droppable(group: Path) -> int:
    """The page cache of a control group that the kernel drops first."""
    try:
        figures = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return int(figures.get("total_inactive_file", figures.get("inactive_file", 0)))
    except (OSError, ValueError):
        return 0
