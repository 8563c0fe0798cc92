"""Measuring modes in real child processes; what is recommended follows from the figures."""

import os
import signal
from pathlib import Path

import pytest

from bge_cpu.bench import Measured, disturbance, disturbed, measure, recommendation, usual


@pytest.mark.slow
def test_a_mode_that_cannot_run_is_named_with_its_reason(tmp_path: Path, tiny_xlmr: Path) -> None:
    found = measure(
        "onnx", {"model": str(tmp_path)}, lengths=[32], threads=[1], seconds=0, runs=1, progress=lambda point: None
    )
    assert found.refused is not None and str(tmp_path) in found.refused
    found = measure(
        "onnx-int8",
        {"model": str(tiny_xlmr), "min_fidelity": 1.0},
        lengths=[32],
        threads=[1],
        seconds=0,
        runs=1,
        progress=lambda point: None,
    )
    assert found.refused is not None and "ranks too unlike float32" in found.refused


def test_a_child_that_is_killed_is_said_so(tiny_xlmr: Path) -> None:
    def kill(point: str) -> None:
        (running,) = Path("/proc/thread-self/children").read_text().split()
        os.kill(int(running), signal.SIGKILL)

    found = measure("onnx", {"model": str(tiny_xlmr)}, lengths=[32], threads=[1], seconds=60, runs=1, progress=kill)
    assert found == Measured("onnx", refused="it was killed by signal 9; for lack of memory, perhaps")


def test_recommendation_is_the_fastest_at_the_usual_length() -> None:
    fast = Measured("onnx-int8", 1.0, 1.1, {32: 30.0, 256: 150.0}, {1: 3.0, 2: 6.0}, 256)
    slow = Measured("fp32", 1.0, 2.3, {32: 20.0, 256: 1200.0}, {1: 0.5, 2: 0.9}, 256)
    words = recommendation([slow, fast, Measured("bf16", refused="no native bfloat16")])
    assert words == ("Use mode='onnx-int8': 6.7 pairs of 256 tokens a second, in 1.10 GB, 8.0 times as fast as 'fp32'.")
    assert recommendation([Measured("bf16", refused="no")]) == "No mode could run here."


def test_figures_taken_while_others_ran_are_worthless() -> None:
    quiet, busy = Measured("onnx", others_share=0.1), Measured("fp32", others_share=0.372)
    assert not disturbed([quiet, Measured("bf16", refused="no")])
    assert disturbance([quiet]) == "Other processes took 10% of the CPUs at most."
    assert disturbed([quiet, busy])
    assert disturbance([quiet, busy]) == (
        "These figures are worthless: other processes took 37% of the CPUs while fp32 was measured. "
        "Stop them and measure again."
    )
    assert disturbance([Measured("onnx")]).endswith("this system does not tell.")


@pytest.mark.parametrize(("lengths", "expected"), [([32, 256], 256), ([64, 128], 128), ([512], 512)])
def test_usual_length(lengths: list[int], expected: int) -> None:
    assert usual(lengths) == expected
