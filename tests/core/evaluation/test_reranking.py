"""A run of a reranker, and its TREC file."""

from itertools import pairwise
from pathlib import Path

import ir_measures
import numpy as np
import pytest

from bge_cpu import InputError, Reranker
from bge_cpu.evaluation import Collection, Task, evaluate, prepare, read, rerank, write_trec
from bge_cpu.evaluation.files import Run, read_run
from bge_cpu.evaluation.tables import cut_in_words
from tests import fakes
from tests.fakes import DistinctEngine
from tests.sets import flat


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return prepare(read(flat(tmp_path / "set")), candidates=3)


def test_truncation_is_counted_and_ties_keep_the_first_stages_order(task: Task) -> None:
    found = rerank(fakes.reranker(DistinctEngine(0.0), max_length=8), task)
    assert {query: [key for key, _ in ranked] for query, ranked in found.run.items()} == {
        query: [key for key, _ in ranked] for query, ranked in task.run.items()
    }
    assert 0 < found.truncated_pairs <= found.pairs
    assert found.seconds > 0
    short_sighted, sees_all = fakes.reranker(DistinctEngine(), max_length=8), fakes.reranker(DistinctEngine(-1))
    reports = evaluate([task], {"up": lambda: short_sighted, "down": lambda: sees_all})
    assert cut_in_words(reports, 8) == [
        f"up: cut to max_length=8 tokens: {found.truncated_pairs} of {found.pairs} pairs"
    ]


def test_a_trec_run_keeps_the_order(tmp_path: Path) -> None:
    run: Run = {"q1": [("a", 2.0), ("c", 2.0), ("b", 2.0), ("d", np.nextafter(np.float32(2), np.float32(0)).item())]}
    write_trec(run, tmp_path / "run", tag="x")
    back = list(ir_measures.read_trec_run(str(tmp_path / "run")))
    scores = [np.float32(row.score) for row in back]
    assert [row.doc_id for row in back] == ["a", "c", "b", "d"]
    assert all(high > low for high, low in pairwise(scores))
    assert [document for document, _ in read_run(tmp_path / "run")["q1"]] == ["a", "c", "b", "d"]
    with pytest.raises(InputError, match="the id 'd 1' has white space in it"):
        write_trec({"q1": [("d 1", 0.0)]}, tmp_path / "run", tag="x")
    with pytest.raises(InputError, match="cannot be written"):
        write_trec(run, tmp_path / "no/run", tag="x")


def test_a_run_of_the_same_reranker_is_the_same(tiny_reranker: Reranker) -> None:
    collection = Collection("c", {"1": "a bear", "2": "竹子"}, {"q": "panda"}, ranking={"q": [("1", 0.0), ("2", 0.0)]})
    task = prepare(collection)
    assert rerank(tiny_reranker, task).run == rerank(tiny_reranker, task).run
