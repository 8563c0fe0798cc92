"""`bge-cpu bench`: what it measures, draws and refuses."""

import json
import sys
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
        assert result.others_share is not None and 0 <= result.others_share <= 1
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


def test_says_that_its_figures_are_worthless(monkeypatch: pytest.MonkeyPatch) -> None:
    share = [0.4]

    def measured(mode: str, *_: object, **__: object) -> Measured:
        return Measured(mode, 1.0, 1.5, {32: 12.5, 256: 150.0}, {1: 3.5, 2: 6.0}, 256, others_share=share[0])

    monkeypatch.setattr(sys.modules["bge_cpu.cli.bench"], "measure", measured)
    code, output = run("--model", "mini", "--quick", "--mode", "onnx", "--mode", "fp32")
    assert code == 0
    words = "These figures are worthless: other processes took 40% of the CPUs while onnx was measured. Stop them"
    assert words in " ".join(output.split()) and "warning" not in output
    assert f"warning: {words}" in run("--model", "mini", "--quick", "--mode", "onnx", "--json", "-")[1]
    share[0] = 0.03
    code, output = run("--model", "mini", "--quick", "--mode", "onnx")
    assert "worthless" not in output and "Other processes took 3% of the CPUs at most." in output
    code, output = run("--model", "mini", "--quick", "--mode", "onnx", "--json", "-")
    (figures,) = json.loads(output)
    assert (figures["mode"], figures["others_share"]) == ("onnx", 0.03)


def test_40_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(mode: str, *_: object, **__: object) -> Measured:
        return Measured(mode, 1.25, 1.5, dict.fromkeys((32, 64, 128, 256, 512), 1234.56), {1: 3.5, 2: 6.0}, 256)

    monkeypatch.setattr(sys.modules["bge_cpu.cli.bench"], "measure", measured)
    shown = {}
    for columns in ("40", "80"):
        monkeypatch.setenv("COLUMNS", columns)
        lines = run("--model", "mini", "--mode", "native-int8")[1].splitlines()
        assert all(len(line) <= int(columns) for line in lines)
        shown[columns] = [line.split() for line in lines]
    assert shown["40"][:3] == [["native-int8"], ["32", "tokens", "1,234.6"], ["64", "tokens", "1,234.6"]]
    assert ["native-int8", *["1,234.6"] * 5, "6.0", "3.5", "1.50", "1.2"] in shown["80"]


@pytest.mark.slow
def test_nothing_can_run(tiny_xlmr: Path) -> None:
    code, output = run("--model", str(tiny_xlmr), "--mode", "onnx-int8", "--min-fidelity", "1")
    assert code == 1 and "ranks too unlike float32" in output and "no mode could run" in output
