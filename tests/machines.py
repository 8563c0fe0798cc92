"""Machines as Linux describes them: /proc and /sys under a folder that stands for the root."""

from pathlib import Path

GIB = 1 << 30
MEMINFO = "MemTotal: {total} kB\nMemFree: 1 kB\nMemAvailable: {available} kB\n"
VNNI = "flags\t: fpu sse2 avx2 avx512f avx512_vnni\n"
AVX2 = "flags\t\t: fpu sse2 fma avx2\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp sve i8mm bf16\n"


def tree(root: Path, files: dict[str, str]) -> Path:
    """Files below a folder, by their paths; the folder."""
    for name, content in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return root


def linux(root: Path, cpuinfo: str = VNNI, gb: float = 16, files: dict[str, str] | None = None) -> Path:
    """A whole machine: its CPU, its memory in GB (10^9 bytes), all of it free, and other files or other contents."""
    meminfo = MEMINFO.format(total=int(gb * 1e6 / 1.024), available=int(gb * 1e6 / 1.024))
    usual = {"proc/cpuinfo": cpuinfo, "proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n"}
    return tree(root, usual | (files or {}))
