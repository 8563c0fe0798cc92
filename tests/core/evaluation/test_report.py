"""Modes compared with each other and the first stage."""

import json
import weakref
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from bge_cpu import InputError, Reranker
from bge_cpu.evaluation import Task, evaluate, prepare, read
from bge_cpu.evaluation.measures import measure
from tests import fakes
from tests.fakes import DistinctEngine
from tests.sets import flat


def test_without_grades_nothing_is_measured(tmp_path: Path) -> None:
    task = prepare(read(flat(tmp_path / "set"), judged=False))
    with pytest.raises(InputError, match="set has no grades of relevance"):
        evaluate([task], {"up": pytest.fail})


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return prepare(read(flat(tmp_path / "set")), candidates=3)


def test_modes_are_compared_and_one_is_loaded_at_a_time(task: Task) -> None:
    loaded: list[weakref.ref[Reranker]] = []

    def load(factor: float) -> Callable[[], Reranker]:
        def make() -> Reranker:
            assert not any(reference() for reference in loaded)
            reranker = fakes.reranker(DistinctEngine(factor))
            loaded.append(weakref.ref(reranker))
            return reranker

        return make

    seen: list[tuple[str, str, int, int]] = []
    kept: list[tuple[str, str]] = []
    (report,) = evaluate(
        [task],
        {"up": load(1.0), "same": load(2.0), "down": load(-1.0)},
        progress=lambda *told: seen.append(told),
        done=lambda mode, name, reranked: kept.append((mode, name)),
    )
    assert seen[:4] == [("up", "set", done, 4) for done in (1, 2, 3, 4)]
    assert kept == [("up", "set"), ("same", "set"), ("down", "set")]
    first, up, same, down = report.systems
    assert [system.name for system in report.systems] == ["BM25", "up", "same", "down"]
    assert [list(system.against) for system in report.systems] == [[], ["BM25"], ["BM25", "up"], ["BM25", "up"]]
    assert first.measures["nDCG@10"].mean == measure(task.grades, task.run, depth=3)["nDCG@10"].mean()
    assert {(found.mean, found.low, found.high) for found in same.against["up"].values()} == {(0, 0, 0)}
    difference = down.measures["MRR@10"].mean - up.measures["MRR@10"].mean
    assert down.against["up"]["MRR@10"].mean == pytest.approx(difference)
    assert (up.pairs, up.pairs_cut) == (sum(map(len, task.run.values())), 0)
    json.dumps(asdict(report))
    with pytest.raises(InputError, match="called 'set'"):
        evaluate([task, task], {"up": lambda: fakes.reranker(DistinctEngine())})


def test_low_grades_are_told(task: Task) -> None:
    (report,) = evaluate([task], {"up": lambda: fakes.reranker(DistinctEngine())}, min_grade=2)
    assert report.notes["queries without a document of grade 2 (0 in MRR, P and Recall)"] == 2
