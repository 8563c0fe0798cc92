"""The doctor's judgement of CPUs, cores and memory, as the kernel describes them."""

import json
import math
from pathlib import Path

import pytest

from bge_cpu.doctor.check import PEAKS
from bge_cpu.doctor.hardware import native
from bge_cpu.engines import default_mode
from bge_cpu.kernels.library import Kernels
from tests.core.doctor.looking import V2_M3, look
from tests.machines import ARM, AVX2, MEMINFO, VNNI, linux


@pytest.mark.parametrize(
    ("cpuinfo", "machine", "found"),
    [
        (VNNI, "x86_64", "products are exact"),
        (AVX2.replace("avx2", "avx2 avx_vnni"), "x86_64", "products are exact"),
        (VNNI.replace("avx512_vnni", "amx_int8"), "x86_64", "products are exact"),
        (ARM, "aarch64", "products are exact"),
        (AVX2, "x86_64", "products saturate: no VNNI, no AMX"),
    ],
)
def test_int8_arithmetic(tmp_path: Path, cpuinfo: str, machine: str, found: str) -> None:
    check = look(linux(tmp_path, cpuinfo), machine=machine)["INT8"]
    assert check.found == found
    assert check.status == ("warning" if "saturate" in found else "ok")
    assert ("reduced range" in check.meaning) == ("saturate" in found)


def test_saturation_is_no_matter_to_a_float_mode(tmp_path: Path) -> None:
    assert look(linux(tmp_path, AVX2), "onnx")["INT8"].status == "ok"


@pytest.mark.parametrize(
    ("cpuinfo", "machine", "status", "meaning"),
    [
        (VNNI, "x86_64", "ok", "made for"),
        (ARM, "aarch64", "warning", "not tested on arm64"),
        ("", "arm64", "warning", "not tested on arm64"),
        (AVX2.replace("avx2", ""), "x86_64", "warning", "without AVX2"),
        ("", "AMD64", "warning", "does not tell"),
    ],
)
def test_processor(tmp_path: Path, cpuinfo: str, machine: str, status: str, meaning: str) -> None:
    check = look(linux(tmp_path, cpuinfo), machine=machine)["CPU"]
    assert check.status == status
    assert meaning in check.meaning


def test_kernels_that_run_are_named_and_missing_ones_have_a_remedy(tmp_path: Path) -> None:
    kernels = Kernels("avx2", "avx2", run_here=True, address=0)
    assert native("native-int8", kernels).found == "avx2"
    assert native("onnx", None).status == "ok"
    missing = native("native-int8", None)
    assert missing.status == "problem" and "C compiler" in missing.remedy


@pytest.mark.parametrize(
    ("flag", "mode", "status"),
    [("avx512_bf16", "bf16", "ok"), ("amx_bf16", "bf16", "ok"), ("", "bf16", "problem"), ("", "onnx", "ok")],
)
def test_bf16(tmp_path: Path, flag: str, mode: str, status: str) -> None:
    check = look(linux(tmp_path, VNNI.replace("avx2", f"avx2 {flag}")), mode)["bf16"]
    assert check.status == status
    assert ("refused" in check.meaning) == (not flag)


def test_a_quota_of_less_than_the_threads_is_told(tmp_path: Path) -> None:
    quota = {"sys/fs/cgroup/cpu.max": "50000 100000\n"}
    check = look(linux(tmp_path, files=quota))["cores"]
    assert check.status == "warning"
    assert "cgroup quota 0.5" in check.found
    assert "threads=1" in check.meaning


@pytest.mark.parametrize(
    ("gb", "mode", "model", "status", "told"),
    [
        (8, "fp32", V2_M3, "ok", "onnx 1.9"),
        (2, "fp32", V2_M3, "problem", f"free or add memory, or use mode {default_mode()}"),
        (2, "fp32", "./small", "warning", "not enough for fp32"),
        (0.5, "onnx-int8", V2_M3, "problem", "not enough for onnx-int8"),
        (1.5, "onnx-int8", V2_M3, "warning", "not to build and check its artifact"),
        (2, "onnx", V2_M3, "ok", ""),
    ],
)
def test_little_memory(tmp_path: Path, gb: float, mode: str, model: str, status: str, told: str) -> None:
    check = look(linux(tmp_path, gb=gb), mode, model)["memory"]
    assert check.status == status, check
    assert told in f"{check.meaning} {check.remedy}"


def test_peaks_are_those_that_were_measured() -> None:
    found: dict[str, float] = {}
    for file in (Path(__file__).resolve().parents[3] / "benchmarks/results").glob("v2-m3-*.json"):
        for mode, contender in json.loads(file.read_text(encoding="utf-8"))["contenders"].items():
            if mode in PEAKS:
                found[mode] = max(found.get(mode, 0), *(work["peak_gb"] for work in contender["works"].values()))
    assert {mode: math.ceil(10 * peak) / 10 for mode, peak in found.items()} == PEAKS


def test_memory_that_others_hold_is_a_warning(tmp_path: Path) -> None:
    meminfo = MEMINFO.format(total=16_000_000, available=500_000)
    check = look(linux(tmp_path, files={"proc/meminfo": meminfo}))["memory"]
    assert check.status == "warning"
    assert check.found == "0.5 of 16.4 GB available"
