"""`bge-cpu bench`: real children, real figures; what it recommends follows from them."""

import io
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bge_cpu import Reranker
from bge_cpu.bench import Measured, child, measure, recommendation, usual
from bge_cpu.bench.child import pair_of
from bge_cpu.checkpoint import MINI
from bge_cpu.cli import app


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["bench", *arguments])
    return done.exit_code, done.output + ("" if done.exception is None else str(done.exception))


def test_measures_modes_and_draws_them(tiny_xlmr: Path, tmp_path: Path) -> None:
    chart, figures = tmp_path / "bench.svg", tmp_path / "bench.json"
    code, output = run(
        *("--model", str(tiny_xlmr), "--quick", "--mode", "onnx", "--mode", "onnx-int8", "--min-fidelity", "none"),
        *("--chart", str(chart), "--json", str(figures)),
    )
    assert code == 0, output
    results = [Measured(**result) for result in json.loads(figures.read_text())]
    assert [result.mode for result in results] == ["onnx", "onnx-int8"]
    for result in results:
        assert result.refused is None
        assert set(result.ms_by_length) == {"32", "256"}  # as JSON writes them
        assert all(value > 0 for value in [*result.ms_by_length.values(), *result.rate_by_threads.values()])
        assert result.load_seconds > 0 and result.peak_gb is not None and 0.01 < result.peak_gb < 2
    assert "Use mode=" in output
    assert chart.read_text().startswith("<?xml")


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


def test_each_number_of_threads_is_measured_with_an_engine_of_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = []

    class Counting(Reranker):
        """Notes how many threads the engine has that scores more than a warm-up."""

        @classmethod
        def load(cls, *, threads: int, mode: str, model: Path) -> "Counting":
            found = Reranker.load(model, mode=mode, threads=threads)
            counting = cls(found.tokenizer, found.engine)
            counting.threads = threads
            return counting

        def score(self, pairs: list[tuple[str, str]], **options: Any) -> list[float]:
            timed.append((self.threads, len(pairs)))
            return super().score(pairs, **options)

    monkeypatch.setattr(child, "Reranker", Counting)
    answers = io.StringIO()
    task = {"mode": "onnx", "options": {"model": MINI}, "lengths": [16, 32], "threads": [1, 2, 4], "seconds": 0}
    child.measure(task | {"runs": 1}, answers)
    told = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert [(point["point"], point.get("at")) for point in told] == [
        *(("load_seconds", None), ("length", 16), ("length", 32), ("peak_gb", None)),
        *(("threads", 4), ("threads", 2), ("threads", 1)),
    ]
    assert timed == [(4, 1), (4, 4), (4, 8), (4, 4), (4, 8), (2, 2), (2, 4), (1, 1), (1, 2)]


def test_wrong_options_are_refused_before_anything_runs(tmp_path: Path) -> None:
    for arguments, reason in (
        (("--model", str(tmp_path), "--quick"), "config.json"),
        (("--model", "mini", "--chart", "bench.pdf"), ".svg or .png"),
        (("--model", "mini", "--json", str(tmp_path / "no/such.json")), "there is no folder"),
        (("--model", "mini", "--min-fidelity", "2"), "--min-fidelity is"),
    ):
        code, output = run(*arguments)
        assert code == 1 and reason in output  # 1: CliRunner's code for any error


def test_nothing_can_run(tiny_xlmr: Path) -> None:
    code, output = run("--model", str(tiny_xlmr), "--mode", "onnx-int8", "--min-fidelity", "1")
    assert code == 1 and "ranks too unlike float32" in output and "no mode could run" in output


def test_recommendation_is_the_fastest_at_the_usual_length() -> None:
    fast = Measured("onnx-int8", 1.0, 1.1, {32: 30.0, 256: 150.0}, {1: 3.0, 2: 6.0}, 256)
    slow = Measured("fp32", 1.0, 2.3, {32: 20.0, 256: 1200.0}, {1: 0.5, 2: 0.9}, 256)
    words = recommendation([slow, fast, Measured("bf16", refused="no native bfloat16")])
    assert words == ("Use mode='onnx-int8': 6.7 pairs of 256 tokens a second, in 1.10 GB, 8.0 times as fast as 'fp32'.")
    assert recommendation([Measured("bf16", refused="no")]) == "No mode could run here."


@pytest.mark.parametrize(("lengths", "expected"), [([32, 256], 256), ([64, 128], 128), ([512], 512)])
def test_usual_length(lengths: list[int], expected: int) -> None:
    assert usual(lengths) == expected


def test_pairs_have_the_length_asked_for(tiny_reranker: Reranker) -> None:
    for tokens in (64, 256, 512):
        (pair,) = tiny_reranker.tokenizer.encode([pair_of(tiny_reranker, tokens)])
        assert tokens - 3 <= len(pair) <= tokens and pair.truncated_tokens == 0
