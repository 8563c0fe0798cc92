"""`bge-cpu verify`: its figures, the verdict and the exit code."""

import json
import subprocess
from pathlib import Path

import pytest

from bge_cpu import Reranker
from bge_cpu.engines import default_mode
from bge_cpu.export import export
from tests.commands import COMMAND, Call, caller
from tests.modes import needs_torch


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tiny_xlmr: Path) -> Call:
    """Runs the command on the tiny checkpoint."""
    call = caller(capsys, monkeypatch)
    return lambda *arguments, model=tiny_xlmr: call("verify", "--model", model, *arguments)


@pytest.mark.slow
@needs_torch
def test_the_figures_are_those_of_the_modes(run: Call, tiny_xlmr: Path, tmp_path: Path) -> None:
    documents = [f"panda number {number} 竹子" + " and bamboo" * number for number in range(12)]
    (tmp_path / "queries.txt").write_text("what is a panda?\n竹子\n")
    (tmp_path / "documents.txt").write_text("\n".join(documents))
    texts = ["--queries", tmp_path / "queries.txt", "--documents", tmp_path / "documents.txt"]
    code, out, err = run(*texts, "--json", "-", "--min-fidelity", "none", "--mode", "onnx-int8", "--mode", "fp32")
    assert (code, err.replace("\r", "").count("warning")) == (0, 0)
    answer = json.loads(out)
    assert answer["data"] == "queries.txt and documents.txt"
    int8, fp32 = answer["modes"]
    assert (int8["mode"], int8["good_enough"], int8["queries"], int8["pairs"]) == ("onnx-int8", None, 2, 24)
    assert fp32["spearman"] == pytest.approx(1, abs=1e-3)
    assert fp32["overlap"] == {"3": 1, "10": 1}
    assert fp32["largest_logit"] < 1e-4
    pairs = [(query, document) for query in ("what is a panda?", "竹子") for document in documents]
    exact, rough = (
        Reranker.load(tiny_xlmr, mode=mode, min_fidelity=None).score(pairs) for mode in ("onnx", "onnx-int8")
    )
    shifts = [abs(one - other) for one, other in zip(exact, rough, strict=True)]
    assert int8["largest_logit"] == pytest.approx(max(shifts), rel=1e-5)
    assert int8["mean_logit"] == pytest.approx(sum(shifts) / len(shifts), rel=1e-5)


def test_the_verdict_and_the_exit_code(run: Call) -> None:
    code, out, _ = run("--min-fidelity", "0.5", "--sample", "4")
    lines = [line.rstrip() for line in out.splitlines()]
    assert code == 0
    assert max(map(len, lines)) <= 80 or "/" in lines[0]
    assert "the built-in probe: 4 queries, 16 pairs" in lines
    figures = {line[:36].strip(): line[36:].strip() for line in lines}
    changed, spearman = figures["queries with another first place"], figures["Spearman of all pairs"]
    verdict = f" ✓ {default_mode()} is good enough: another first place in {changed} queries, Spearman {spearman}"
    assert " ".join(lines[-4:-2]) == verdict
    assert lines[-2:] == [
        " good enough: a Spearman of at least 0.5 over all pairs (--min-fidelity)",
        " your own texts tell more: --queries FILE --documents FILE",
    ]
    code, out, _ = run("--min-fidelity", "1", "--sample", "4")
    assert code == 1
    words = f"✗ {default_mode()} is not good enough: another first place in {changed} queries, Spearman {spearman};"
    assert f"{words} stay with onnx " in " ".join(out.split())
    code, out, _ = run("--min-fidelity", "none", "--sample", "4")
    assert code == 0
    assert f" {default_mode()}: no verdict, for --min-fidelity is none\n" in out


def test_a_folder_without_qrels_and_cut_pairs(run: Call, tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "text": "a bear"}\n{"_id": "d2", "text": "竹子"}\n')
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": "panda " * 600}))
    code, out, err = run(tmp_path, "--min-fidelity", "none")
    assert code == 0
    assert f"{tmp_path.name}: 1 query, 2 pairs" in out
    assert err.endswith("warning: cut to max_length=512 tokens, in every mode: 2 of 2 pairs\n")


def test_empty_lines_are_counted_aloud(run: Call, tmp_path: Path) -> None:
    (tmp_path / "queries.txt").write_text("panda\n\n竹子\n", encoding="utf-8")
    (tmp_path / "documents.txt").write_text("\n\na bear\n竹子\n", encoding="utf-8")
    texts = ["--queries", tmp_path / "queries.txt", "--documents", tmp_path / "documents.txt"]
    code, out, err = run(*texts, "--json", "-", "--min-fidelity", "none")
    assert code == 0
    assert "3 empty lines were passed over\n" in err
    answer = json.loads(out)
    assert answer["notes"] == {"empty lines (passed over)": 3}
    assert (answer["modes"][0]["queries"], answer["modes"][0]["pairs"]) == (2, 4)


def test_one_pair_cannot_be_judged(run: Call, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("panda\n")
    texts = ["--queries", tmp_path / "one.txt", "--documents", tmp_path / "one.txt"]
    code, out, _ = run(*texts)
    assert code == 1
    assert f" ✗ {default_mode()} cannot be judged" in out
    code, out, _ = run(*texts, "--json", "-")
    assert code == 1
    assert json.loads(out)["modes"][0]["spearman"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--queries", "a"], "error: --queries and --documents go together"),
        (["--documents", "a"], "error: --queries and --documents go together"),
        ([".", "--documents", "a"], "error: texts come from a folder or from --queries and --documents, not both"),
        (["--queries", "/no/where", "--documents", "/"], "error: /no/where cannot be read: No such file or directory"),
        (["--mode", "onnx"], "error: mode 'onnx' is the reference; compare it with another mode"),
        (["--reference", default_mode()], f"error: mode {default_mode()!r} is the reference"),
        (["--reference", "float"], "error: mode is one of"),
        (["--min-fidelity", "2"], "error: --min-fidelity is None or a number from 0 to 1, not 2.0"),
        (["--min-fidelity", "high"], "error: --min-fidelity is a number from 0 to 1 or none, not 'high'"),
        (["--sample", "0"], "error: --sample is a whole number of at least 1, not 0"),
        (["/no/where"], "error: /no/where is not a folder"),
    ],
)
def test_wrong_usage_ends_with_2(run: Call, arguments: list[str], message: str) -> None:
    code, out, err = run(*arguments)
    assert code == 2
    assert message in err
    assert out == ""


def test_an_exported_folder_has_nothing_to_compare_with(run: Call, tiny_xlmr: Path, tmp_path: Path) -> None:
    folder = export(tiny_xlmr, tmp_path / "out", mode="onnx")
    code, _, err = run(model=folder)
    assert code == 2
    assert "was exported for mode 'onnx' alone" in err
    assert "hint: verify the checkpoint that it was exported from" in err


@pytest.mark.model
def test_int8_of_a_trained_checkpoint_is_good_enough(mini: Path) -> None:
    command = [*COMMAND, "verify", "--model", str(mini)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert f"✓ {default_mode()} is good enough: another first place in " in done.stdout
    assert "comparing" not in done.stderr, "what is measured is not gated"
