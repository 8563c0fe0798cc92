"""What this machine's CPUs can do, and how many of them this process may really use."""

import math
import os
import platform
from collections.abc import Mapping
from pathlib import Path

from bge_cpu.machine.cgroup import cgroups

NATIVE_BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""The instruction sets that multiply bfloat16 natively, as Linux names them."""


def available_cpus(root: Path = Path("/")) -> int:
    """The smaller of the CPU affinity and the cgroup quota (rounded up), at least 1.

    Args:
        root: Where /proc and /sys lie.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota(root)
    return cpus if quota is None else max(1, min(cpus, math.ceil(quota)))


def omp_threads(environ: Mapping[str, str] = os.environ) -> int | None:
    """The number of threads that OMP_NUM_THREADS asks programs to use; None where it does not.

    >>> omp_threads({"OMP_NUM_THREADS": "4,2"}), omp_threads({"OMP_NUM_THREADS": "many"})
    (4, None)
    """
    first = environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() and len(first) < 10 and int(first) else None


def cgroup_quota(root: Path = Path("/")) -> float | None:
    """The CPUs that this process's control group and those above it grant, or None without a limit.

    Reads cgroup v2 (cpu.max) and v1 (cpu.cfs_quota_us over cpu.cfs_period_us).
    """
    return min((quota for group in cgroups("cpu", root) for quota in _quota(group)), default=None)


def _quota(group: Path) -> list[float]:
    """The limit that one control group sets, if any."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu.cfs_period_us").read_text()
        return [int(quota) / int(period)] if quota.strip() not in ("max", "-1") else []
    except (OSError, ValueError):
        return []


def features(root: Path = Path("/")) -> frozenset[str]:
    """The instruction sets that Linux reports (avx2, avx512_vnni, asimddp ...); none where it does not tell."""
    try:
        lines = (root / "proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def int8_class(root: Path = Path("/")) -> str:
    """How this CPU multiplies INT8: "exact" (VNNI, AMX, or ARM's dot products) or "saturating" (AVX2 and older).

    A saturating CPU adds pairs of products in 16 bits, which overflow unless weights keep to 7 bits.
    """
    exact = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"}
    if features(root) & exact or platform.machine().lower() in ("arm64", "aarch64"):
        return "exact"
    return "saturating"
