"""CPUs that may be used: affinity in a real process, cgroup quotas from trees as the kernel lays them out."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from bge_cpu.machine.cpu import available_cpus, cgroup_quota, features, int8_class
from tests.machines import tree


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
                "sys/fs/cgroup/a/cpu.max": "50000 100000\n",
            },
            0.5,
        ),
        (
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/job\n3:memory:/job\n",
                "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "200000\n",
                "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
            },
            2.0,
        ),
        (
            {
                "proc/self/cgroup": "5:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "nonsense\n"}, None),
    ],
)
def test_quota(tmp_path: Path, files: dict[str, str], quota: float | None) -> None:
    assert cgroup_quota(tree(tmp_path, files)) == quota


def test_the_quota_is_rounded_up_and_never_below_one(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "10000 100000\n"}
    assert available_cpus(tree(tmp_path, files)) == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux's CPU affinity")
def test_affinity_counts_in_a_real_process(tiny_xlmr: Path) -> None:
    script = (
        "import os, sys; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from bge_cpu import Reranker\n"
        f"reranker = Reranker.load({str(tiny_xlmr)!r}, mode='onnx')\n"
        "print(reranker.engine._threads, len(reranker.score([('a', 'b')] * 4)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["1", "4"], done.stderr


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        ("fma avx2", "saturating"),
        ("avx2 avx512f avx512_vnni", "exact"),
        ("avx2 avx_vnni", "exact"),
        ("avx2 amx_int8", "exact"),
    ],
)
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86 flags")
def test_int8_class(tmp_path: Path, flags: str, kind: str) -> None:
    root = tree(tmp_path, {"proc/cpuinfo": f"processor\t: 0\nflags\t\t: fpu {flags}\n\nprocessor\t: 1\n"})
    assert set(flags.split()) < features(root)
    assert int8_class(root) == kind


def test_no_features_where_linux_does_not_tell(tmp_path: Path) -> None:
    assert features(tmp_path) == frozenset()
