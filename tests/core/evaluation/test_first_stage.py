"""Which queries take part, and which candidates they get."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bge_cpu import InputError
from bge_cpu.evaluation import Collection, Task, prepare, read
from bge_cpu.evaluation.measures import measure
from tests.sets import CORPUS, GRADES, QUERIES, flat, jsonl

EVAL = Path(__file__).resolve().parents[4] / "shared/data/eval"


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    corpus = CORPUS | {"d5": " ", "d6": "(empty)"}
    queries = QUERIES | {"q5": "pears", "q6": " ", "q7": "apples"}
    grades = GRADES | {"q6": {"d1": 1}, "q7": {"d4": 1, "gone": 1, "lost": 0, "d2": 1}, "q9": {"d1": 1}}
    folder = flat(
        tmp_path / "set",
        corpus_jsonl=jsonl({"id": key, "text": text} for key, text in corpus.items()),
        queries_jsonl=jsonl({"id": key, "text": text} for key, text in queries.items()),
        qrels_tsv="".join(f"{q}\t{d}\t{grade}\n" for q, found in grades.items() for d, grade in found.items()),
        excluded_tsv="q7\td2\nq1\td1\n",
    )
    task = prepare(read(folder), candidates=2)
    assert list(task.queries) == ["q1", "q2", "q3", "q4", "q7"]
    assert task.run["q4"] == []
    assert task.notes == {
        "documents without text (left out)": 2,
        "judged queries that are unknown (passed over)": 1,
        "relevant documents that are not in the corpus (they count as not found)": 1,
        "queries without text (left out)": 1,
        "queries without a relevant document (left out)": 1,
        "candidates that the set excludes (left out)": 2,
        "queries without a relevant candidate (they stay, and count as 0)": 2,
    }
    assert [document for document, _ in task.run["q1"]] == ["d2"]
    assert task.grades["q7"] == {"d4": 1, "gone": 1, "lost": 0}
    values = measure(task.grades, task.run, depth=2)["nDCG@10"]
    assert values.tolist() == pytest.approx([1, 1, 1, 0, 0])


def test_candidates_come_from_a_file_or_bm25(tmp_path: Path) -> None:
    folder = flat(
        tmp_path / "set", candidates_tsv="q1\td3\nq1\tgone\nq1\td1\nq1\td2\nq9\td1\n", other_run="q1 Q0 d4 1 1.0 x\n"
    )
    task = prepare(read(folder), candidates=2)
    assert (task.first_stage, task.seconds) == ("candidates.tsv", None)
    assert task.run == {"q1": [("d3", 0.0), ("d1", -2.0)]}
    assert task.notes["candidates that are not in the corpus (left out)"] == 1
    assert prepare(read(folder, first_stage="other.run")).run == {"q1": [("d4", 1.0)]}
    bm25 = prepare(read(folder, first_stage="bm25"))
    assert bm25.first_stage == "BM25"
    assert bm25.seconds is not None
    assert [document for document, _ in bm25.run["q3"]] == ["d4", "d2", "d1"]


def test_queries_are_spread_evenly(tmp_path: Path) -> None:
    collection = read(flat(tmp_path / "set"))
    assert list(prepare(collection, queries=2).queries) == ["q1", "q3"]
    assert list(prepare(collection, queries=9).queries) == ["q1", "q2", "q3", "q4"]
    for wrong in ({"queries": 0}, {"candidates": 0}):
        with pytest.raises(InputError, match="is a whole number of at least 1, not 0"):
            prepare(collection, **wrong)
    signs = Collection("signs", {"d1": "!!!"}, {"q1": "!!!"}, grades={"q1": {"d1": 1}})
    with pytest.raises(InputError, match=r"queries without a relevant candidate \(they stay, and count as 0\): 1"):
        prepare(signs)


def test_queries_are_chosen_among_those_with_candidates(tmp_path: Path) -> None:
    folder = flat(tmp_path / "set", candidates_tsv="q3\td4\n")
    task = prepare(read(folder), queries=1)
    assert list(task.queries) == ["q3"]
    assert task.notes["queries without a candidate (left out)"] == 3


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return prepare(read(flat(tmp_path / "set")), candidates=3)


# The data's README has 0.310 for cranfield, with the excluded documents and each of a query's words counted once.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "ndcg"), [("xquad_zh", 0.967), ("stard_zh", 0.472), ("cranfield", 0.362), ("trec_dl19", 0.506)]
)
def test_first_stages_of_the_shared_sets(name: str, ndcg: float) -> None:
    if not (EVAL / name).is_dir():
        pytest.skip(f"needs the set {EVAL / name}")
    task = prepare(read(EVAL / name))
    values: Mapping[str, NDArray[np.float64]] = measure(task.grades, task.run, depth=100)
    assert values["nDCG@10"].mean() == pytest.approx(ndcg, abs=0.001)
