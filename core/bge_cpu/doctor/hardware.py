"""The doctor on the machine: CPU, cores, memory."""

import os

from bge_cpu.doctor.check import (
    BUILD_PEAK,
    GB,
    OK,
    PEAKS,
    PROBLEM,
    WARNING,
    Check,
    is_large,
    listed,
)
from bge_cpu.engines import INT8_MODES, MODES, default_mode
from bge_cpu.kernels.library import Kernels
from bge_cpu.machine.cpu import NATIVE_BF16
from bge_cpu.machine.memory import Memory

_SHOWN = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")


def processor(flags: frozenset[str], machine: str) -> Check:
    """Whether this is a kind of CPU that bge-cpu was tested on."""
    found = f"{machine} {' '.join(flag for flag in _SHOWN if flag in flags)}".strip()
    if machine.lower() in ("arm64", "aarch64"):
        return Check("CPU", WARNING, found, "bge-cpu is not tested on arm64", "compare its scores with mode fp32")
    if not flags:
        return Check("CPU", WARNING, found, "the system does not tell what this CPU can do; the least is assumed")
    if "avx2" not in flags:
        return Check("CPU", WARNING, found, "every mode is slow without AVX2", "use a CPU that has it")
    return Check("CPU", OK, found, "a kind that bge-cpu is made for")


def int8(mode: str, kind: str) -> Check:
    """What the CPU's INT8 arithmetic means for the INT8 modes."""
    modes = listed(INT8_MODES)
    if kind == "exact":
        return Check("INT8", OK, "products are exact", f"{modes}: weights use all 8 bits")
    return Check(
        "INT8",
        WARNING if mode in INT8_MODES else OK,
        "products saturate: no VNNI, no AMX",
        f"{modes}: weights keep to fewer bits (reduced range), so scores stray a little further; slower than with VNNI",
        "if the scores matter more than the speed: mode onnx" if mode in INT8_MODES else "",
    )


def native(mode: str, kernels: Kernels | None) -> Check:
    """Whether mode native-int8 runs, and on which of its kernels."""
    if kernels is not None:
        return Check("native kernels", OK, kernels.name, f"native-int8: runs, on artifacts of class {kernels.kind}")
    found, meaning = "none that run here", "native-int8: cannot run; onnx-int8 is the default in its place"
    remedy = "install a wheel for this platform, or install from source with a C compiler (CC, cc, gcc, clang)"
    return Check("native kernels", PROBLEM if mode == "native-int8" else OK, found, meaning, remedy)


def bf16(mode: str, flags: frozenset[str]) -> Check:
    """Whether mode bf16 runs."""
    native = listed(sorted(flags & NATIVE_BF16))
    if native:
        return Check("bf16", OK, f"native: {native}", "bf16: runs")
    meaning = "bf16: refused, since emulating it is slower than fp32"
    if mode == "bf16":
        return Check("bf16", PROBLEM, "not native", meaning, "choose another mode")
    return Check("bf16", OK, "not native", meaning)


def cores(threads: int, quota: float | None) -> Check:
    """How many CPUs a mode uses."""
    granted = "no cgroup quota" if quota is None else f"cgroup quota {quota:g}"
    found, meaning = f"{threads} of {os.cpu_count()} CPUs; {granted}", f"threads={threads} unless told otherwise"
    if quota is None or quota >= threads:
        return Check("cores", OK, found, meaning)
    remedy = f"grant {threads}, or use --threads {threads - 1}" if threads > 1 else "grant at least 1"
    return Check("cores", WARNING, found, f"{meaning}; the quota halts them part of the time", remedy)


def room(mode: str, model: str, memory: Memory | None, *, built: bool) -> Check:
    """Whether the memory is enough for the mode, and for building its artifact if that is not built yet."""
    peaks = listed(f"{name} {PEAKS[name]}" for name in MODES if name in PEAKS)
    needs = f"peaks with bge-reranker-v2-m3, at most, GB: {peaks}"
    if memory is None:
        return Check("memory", OK, "the system does not tell", needs)
    found = f"{memory.available / GB:.1f} of {memory.capacity / GB:.1f} GB available"
    found += "; a cgroup sets the limit" if memory.limited else ""
    more = "raise the cgroup's limit" if memory.limited else "free or add memory"
    peak = PEAKS.get(mode, max(PEAKS.values()))
    if memory.available < peak * GB:
        status = PROBLEM if memory.capacity < peak * GB and is_large(model) else WARNING
        leanest = default_mode()
        fits = PEAKS[leanest] * GB <= memory.available
        remedy = f"{more}, or use mode {leanest}" if fits else more
        return Check("memory", status, found, f"not enough for {mode}; {needs}", remedy)
    if mode in INT8_MODES and not built and memory.available < BUILD_PEAK * GB and is_large(model):
        meaning = f"enough to run {mode}, not to build and check its artifact at the first start ({BUILD_PEAK} GB)"
        return Check(
            "memory",
            WARNING,
            found,
            f"{meaning}; {needs}",
            f"{more} for the first start, or switch the check off: min_fidelity none",
        )
    return Check("memory", OK, found, needs)
