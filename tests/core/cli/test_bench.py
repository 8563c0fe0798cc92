"""`bge-cpu bench`: what it measures, draws and refuses."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bge_cpu.bench import Measured
from bge_cpu.cli import app


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["bench", *arguments])
    return done.exit_code, done.output + ("" if done.exception is None else str(done.exception))


@pytest.mark.slow
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
        lengths: set[object] = set(result.ms_by_length)
        assert lengths == {"32", "256"}  # as JSON writes them
        assert all(value > 0 for value in [*result.ms_by_length.values(), *result.rate_by_threads.values()])
        assert result.load_seconds > 0 and result.peak_gb is not None and 0.01 < result.peak_gb < 2
    assert "Use mode=" in output
    assert chart.read_text().startswith("<?xml")


def test_wrong_options_are_refused_before_anything_runs(tmp_path: Path) -> None:
    for arguments, reason in (
        (("--model", str(tmp_path), "--quick"), "config.json"),
        (("--model", "mini", "--chart", "bench.pdf"), ".svg or .png"),
        (("--model", "mini", "--json", str(tmp_path / "no/such.json")), "there is no folder"),
        (("--model", "mini", "--min-fidelity", "2"), "--min-fidelity is"),
    ):
        code, output = run(*arguments)
        assert code == 1 and reason in output  # 1: CliRunner's code for any error


@pytest.mark.slow
def test_nothing_can_run(tiny_xlmr: Path) -> None:
    code, output = run("--model", str(tiny_xlmr), "--mode", "onnx-int8", "--min-fidelity", "1")
    assert code == 1 and "ranks too unlike float32" in output and "no mode could run" in output
