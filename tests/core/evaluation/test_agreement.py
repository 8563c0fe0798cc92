"""The comparison of two modes against hand-computed values, and where its texts come from."""

import math
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from bge_cpu import InputError
from bge_cpu.cli import main
from bge_cpu.evaluation import agreement, prepare
from bge_cpu.evaluation.agreement import all_if_few, from_files, probe
from bge_cpu.evaluation.files import Run
from bge_cpu.quantization.probe import PAIRS

Ran = tuple[int, str, str]
Call = Callable[..., Ran]


def ranked(**queries: list[float]) -> Run:
    """A run over documents named by their place, from each query's logits."""
    return {
        query: sorted(((str(place), logit) for place, logit in enumerate(logits)), key=lambda item: -item[1])
        for query, logits in queries.items()
    }


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tiny_xlmr: Path) -> Call:
    """Runs the command on the tiny checkpoint in this process: exit code, stdout, stderr."""
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # `main` sets it
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments: str | Path, model: Path = tiny_xlmr) -> Ran:
        with pytest.raises(SystemExit) as ended:
            main(["verify", "--model", str(model), *map(str, arguments)])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return call


def test_the_comparison_as_by_hand() -> None:
    reference = ranked(a=[3.0, 2.0, 1.0, 0.0], b=[-1.0, -2.0])
    other = ranked(a=[3.0, 0.5, 1.0, 0.75], b=[-2.0, -1.0])
    found = agreement(reference, other)
    assert (found.queries, found.pairs) == (2, 6)
    # ranks, from the highest: 1 2 3 4 5 6 and 1 4 2 3 6 5
    assert found.spearman == pytest.approx(1 - 6 * (0 + 4 + 1 + 1 + 1 + 1) / (6 * 35))
    assert found.overlap == {3: pytest.approx(2 / 3), 10: None}  # a's 0 1 2 and 0 2 3; b has no more than three
    assert found.first_changed == 1
    assert found.largest_logit == 1.5
    assert found.mean_logit == pytest.approx((1.5 + 0.75 + 1 + 1) / 6)
    shifts = [sigmoid(2) - sigmoid(0.5), sigmoid(0.75) - sigmoid(0), sigmoid(-1) - sigmoid(-2)]
    assert found.largest_score == pytest.approx(max(shifts))
    assert found.mean_score == pytest.approx((shifts[0] + shifts[1] + 2 * shifts[2]) / 6)


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def test_identical_runs_agree_in_everything() -> None:
    run = ranked(a=[float(place) for place in range(20)])
    found = agreement(run, run)
    assert found.spearman == pytest.approx(1)
    assert found.overlap == {3: 1, 10: 1}
    assert (found.first_changed, found.largest_logit, found.mean_score) == (0, 0, 0)
    constant = ranked(a=[1.0, 1.0])
    assert math.isnan(agreement(constant, constant).spearman)


def test_the_probe_keeps_its_pairs() -> None:
    task = prepare(probe(), candidates=30)
    pairs = [(task.queries[query], task.documents[key]) for query, found in task.run.items() for key, _ in found]
    assert pairs == PAIRS
    assert task.notes == {}


def test_few_documents_are_all_compared_and_of_many_bm25_s_best(tmp_path: Path) -> None:
    (tmp_path / "queries.txt").write_text("bears\n\n \nno such word\n")
    (tmp_path / "documents.jsonl").write_text('{"text": "a bear"}\n{"text": "bears", "title": "Two"}\n{"text": ""}\n')
    collection = from_files(tmp_path / "queries.txt", tmp_path / "documents.jsonl")
    assert collection.documents == {"1": "a bear", "2": "Two bears"}
    few = prepare(all_if_few(collection, 2), candidates=2)
    assert few.run == {"1": [("1", 0.0), ("2", 0.0)], "4": [("1", 0.0), ("2", 0.0)]}
    assert few.first_stage == "all documents"
    many = prepare(all_if_few(collection, 1), candidates=1)
    assert [document for document, _ in many.run["1"]] == ["2"]
    assert many.notes == {"queries without a candidate (left out)": 1, "empty lines (passed over)": 2}
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(InputError, match=r"empty\.txt holds no text"):
        from_files(tmp_path / "empty.txt", tmp_path / "documents.jsonl")
