"""Judged sets from both layouts, their candidates, measures against hand-computed values, and the bootstrap."""

import gzip
import json
import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import checkpoints
import ir_measures
import numpy as np
import pytest
from numpy.typing import NDArray

from bge_cpu import InputError, Reranker
from bge_cpu.evaluation import Collection, Task, evaluate, interval, prepare, read, rerank, write_trec
from bge_cpu.evaluation.bootstrap import SAMPLES
from bge_cpu.evaluation.chart import draw
from bge_cpu.evaluation.files import Run, read_grades, read_plain, read_run
from bge_cpu.evaluation.measures import measure
from bge_cpu.evaluation.tables import cut_in_words
from bge_cpu.tokenizer import PairTokenizer, TokenizedPair

EVAL = Path(__file__).resolve().parents[3] / "shared/data/eval"
CORPUS = {"d1": "red apples grow on trees", "d2": "apples and pears", "d3": "苹果是一种水果", "d4": "ships at sea"}
QUERIES = {"q1": "apples", "q2": "苹果水果", "q3": "sea ships apples", "q4": "quartz"}
QRELS = {"q1": {"d2": 1}, "q2": {"d3": 2, "d1": 0}, "q3": {"d4": 3, "d2": 1}, "q4": {"d4": 1}}


def write(folder: Path, **files: str | bytes) -> Path:
    """A flat folder of the texts above; a file's name is given with _ for . and - for /, its content replaces ours."""
    content: dict[str, str | bytes] = {
        "corpus.jsonl": jsonl({"id": key, "text": text} for key, text in CORPUS.items()),
        "queries.jsonl": jsonl({"id": key, "text": text, "lang": "en"} for key, text in QUERIES.items()),
        "qrels.tsv": "".join(f"{q}\t{d}\t{grade}\n" for q, found in QRELS.items() for d, grade in found.items()),
    } | {name.replace("_", "."): text for name, text in files.items()}
    folder.mkdir(exist_ok=True)
    for name, text in content.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def jsonl(records: Any) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


class DistinctEngine:
    """Logit = how many different tokens the pair has, times a factor."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def logits(self, pairs: Sequence[TokenizedPair]) -> NDArray[np.float32]:
        return np.array([self.factor * len(np.unique(pair.ids)) for pair in pairs], dtype=np.float32)


def fake(factor: float = 1.0, max_length: int = 512) -> Reranker:
    return Reranker(PairTokenizer(checkpoints.tokenizer("xlm-roberta"), max_length), DistinctEngine(factor))


def test_both_layouts_give_the_same(tmp_path: Path) -> None:
    flat = write(tmp_path / "flat")
    beir = tmp_path / "beir"
    (beir / "qrels").mkdir(parents=True)
    records = [{"_id": key, "title": "", "text": text, "metadata": {}} for key, text in CORPUS.items()]
    records[0] |= {"title": "red apples", "text": "grow on trees"}
    (beir / "corpus.jsonl.gz").write_bytes(gzip.compress(jsonl(records).encode()))
    queries = "\ufeff" + jsonl({"_id": key, "text": text} for key, text in QUERIES.items()).replace("\n", "\r\n\r\n")
    (beir / "queries.jsonl").write_bytes(queries.encode())
    (beir / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\n" + (flat / "qrels.tsv").read_text())
    (beir / "qrels/dev.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td4\t1\n")
    one, other = read(flat), read(beir)
    assert (one.name, other.name) == ("flat", "beir")
    assert asdict(one) == asdict(replace(other, name="flat"))
    assert (one.documents, one.queries, one.grades) == (CORPUS, QUERIES, QRELS)
    assert read(beir, split="dev").grades == {"q1": {"d4": 1}}
    with pytest.raises(InputError, match=r"qrels/train.tsv\nhint: its qrels have the splits dev, test"):
        read(beir, split="train")


def test_trec_files(tmp_path: Path) -> None:
    (tmp_path / "qrels").write_text("q1 0 d1 2\nq1 0 d2 -1\n\nq1 0 d1 2\n")
    assert read_grades(tmp_path / "qrels") == {"q1": {"d1": 2, "d2": -1}}
    (tmp_path / "run").write_text("q1 Q0 d1 1 0.5 tag\nq1 Q0 d2 2 9e-1 tag\nq1 Q0 d4 4 0.5 tag\nq1 Q0 d3 3 0.5 tag\n")
    assert read_run(tmp_path / "run") == {"q1": [("d2", 0.9), ("d1", 0.5), ("d3", 0.5), ("d4", 0.5)]}
    (tmp_path / "tsv").write_text("query-id\tcorpus-id\trank\tscore\nq1\td 1\t2\t7\nq1\td2\t1\t3.5\n")
    assert read_run(tmp_path / "tsv") == {"q1": [("d2", 3.5), ("d 1", 7.0)]}
    (tmp_path / "two").write_text("q1\td2\nq2\td3\nq1\td1\n")
    assert read_run(tmp_path / "two") == {"q1": [("d2", 0.0), ("d1", -1.0)], "q2": [("d3", 0.0)]}


def test_plain_files(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text('one\n\n {"text": 2} \n')
    assert read_plain(tmp_path / "texts.txt") == {"1": "one", "3": '{"text": 2}'}
    (tmp_path / "texts.jsonl.gz").write_bytes(gzip.compress(b'{"text": "one", "title": "The"}\n'))
    assert read_plain(tmp_path / "texts.jsonl.gz") == {"1": "The one"}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("corpus_jsonl", "", "corpus.jsonl holds no text"),
        ("corpus_jsonl", '{"id": "d1", "text": "(empty)"}', "corpus.jsonl holds no text"),
        ("corpus_jsonl", '{"id": "d1", "text": "a"}\n\n{"id": "d1", "text": "b"}', "line 3 of .* repeats the id 'd1'"),
        ("corpus_jsonl", '{"id": "d1", "text": "a"}\n{"id"', "line 2 of .*corpus.jsonl is not JSON"),
        ("corpus_jsonl", "[1]", "line 1 of .* is not a JSON object, but list"),
        ("corpus_jsonl", '{"text": "a"}', "line 1 of .* has no id: .* not None"),
        ("corpus_jsonl", '{"id": true, "text": "a"}', "has no id: .* not True"),
        ("corpus_jsonl", '{"id": "d1", "body": "a"}', "line 1 of .* has no field 'text', but 'id', 'body'"),
        ("corpus_jsonl", '{"id": "d1", "text": 3}', "text in line 1 of .* is a str, not int: 3"),
        ("corpus_jsonl", '{"id": "d1", "title": [], "text": ""}', "title in line 1 of .* is a str, not list"),
        ("corpus_jsonl", '{"id": "d1", "text": "\\ud800"}', "text in line 1 of .* lone surrogate"),
        ("corpus_jsonl", b'{"id": "d1", "text": "a"}\n\xff', "line 2 of .*corpus.jsonl is not UTF-8"),
        ("corpus_jsonl_gz", b"", None),  # the plain file goes first
        ("queries_jsonl", "", "queries.jsonl holds no text"),
        ("qrels_tsv", "q1\td1", "line 1 of .*qrels.tsv has 2 columns, not query-id, corpus-id and score"),
        ("qrels_tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1.5", "score in line 2 of .* whole number, not '1.5'"),
        ("qrels_tsv", "q1\td1\t1\nq1\td1\t2", "line 2 of .* gives document 'd1' of query 'q1' the score 2, after 1"),
        ("qrels_tsv", "", "has no query to evaluate: queries without a relevant document"),
        ("candidates_tsv", "q1\td1\t1", "line 1 of .*candidates.tsv has 3 columns, not a TREC run's six"),
        ("candidates_tsv", "q1\td1\tfirst\t0.5", "rank in line 1 of .* whole number, not 'first'"),
        ("candidates_tsv", "q1\td1\t1\tnan", "score in line 1 of .* is a number, not 'nan'"),
        ("candidates_tsv", "q1\td1\nq1\td1", "line 2 of .* repeats document 'd1' of query 'q1'"),
        ("candidates_tsv", "q9\td1", "no query to evaluate: queries without a candidate"),
        ("minus1_tsv", "q1", "line 1 of .*minus1.tsv has 1 column, not query-id and corpus-id"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, file: str, content: str | bytes, message: str | None) -> None:
    folder = write(tmp_path / "set", **{file: content})
    if message is None:
        prepare(read(folder))
        return
    with pytest.raises(InputError, match=message):
        prepare(read(folder))


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is not a folder\nhint: "):
        read(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"holds no corpus\.jsonl"):
        read(tmp_path)
    folder = write(tmp_path / "set")
    with pytest.raises(InputError, match=r"set holds no run\.txt"):
        read(folder, first_stage="run.txt")
    (folder / "qrels.tsv").unlink()
    with pytest.raises(InputError, match=r"holds no qrels\.tsv and no qrels/test\.tsv$"):
        read(folder)
    assert read(folder, judged=False).grades is None
    (folder / "corpus.jsonl").unlink()
    for damaged in (gzip.compress(b"text")[:-9], b"no gzip"):
        (folder / "corpus.jsonl.gz").write_bytes(damaged)
        with pytest.raises(InputError, match=r"corpus\.jsonl\.gz cannot be read: "):
            read(folder)


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    corpus = CORPUS | {"d5": " ", "d6": "(empty)"}
    queries = QUERIES | {"q5": "pears", "q6": " ", "q7": "apples"}
    grades = QRELS | {"q6": {"d1": 1}, "q7": {"d4": 1, "gone": 1, "lost": 0, "d2": 1}, "q9": {"d1": 1}}
    folder = write(
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
    folder = write(
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
    collection = read(write(tmp_path / "set"))
    assert list(prepare(collection, queries=2).queries) == ["q1", "q3"]
    assert list(prepare(collection, queries=9).queries) == ["q1", "q2", "q3", "q4"]
    for wrong in ({"queries": 0}, {"candidates": 0}):
        with pytest.raises(InputError, match="is a whole number of at least 1, not 0"):
            prepare(collection, **wrong)
    signs = Collection("signs", {"d1": "!!!"}, {"q1": "!!!"}, grades={"q1": {"d1": 1}})
    with pytest.raises(InputError, match=r"queries without a relevant candidate \(they stay, and count as 0\): 1"):
        prepare(signs)


def test_queries_are_chosen_among_those_with_candidates(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", candidates_tsv="q3\td4\n")
    task = prepare(read(folder), queries=1)
    assert list(task.queries) == ["q3"]
    assert task.notes["queries without a candidate (left out)"] == 3


def test_without_grades_nothing_is_measured(tmp_path: Path) -> None:
    task = prepare(read(write(tmp_path / "set"), judged=False))
    with pytest.raises(InputError, match="set has no grades of relevance"):
        evaluate([task], {"up": pytest.fail})


def test_measures_as_by_hand() -> None:
    run: Run = {
        "a": [(f"d{rank}", 0.0) for rank in range(1, 13)],  # all scores tie: the order is the run's
        "b": [("x", 5.0), ("y", 1.0)],
        "c": [("x", 5.0), ("y", 5.0)],
    }
    grades = {"a": {"d2": 3, "d11": 1, "gone": 2}, "b": {"y": 1, "x": -1}, "c": {"z": 1}}
    found = measure(grades, run, depth=12)
    ideal = 3 / math.log2(2) + 2 / math.log2(3) + 1 / math.log2(4)
    assert found["nDCG@10"].tolist() == pytest.approx([3 / math.log2(3) / ideal, 1 / math.log2(3), 0])
    assert found["MRR@10"].tolist() == [0.5, 0.5, 0]
    assert found["P@1"].tolist() == [0, 0, 0]
    assert found["Recall@12"].tolist() == pytest.approx([2 / 3, 1, 0])
    late = measure({"a": {"d11": 1}, "b": {"x": 1}, "c": {"y": 2}}, run, depth=1)
    assert late["MRR@10"].tolist() == [0, 1, 0.5]
    assert late["P@1"].tolist() == [0, 1, 0]
    strict = measure(grades, run, depth=12, min_grade=2)
    assert strict["nDCG@10"].tolist() == found["nDCG@10"].tolist()
    assert strict["MRR@10"].tolist() == [0.5, 0, 0]
    assert strict["Recall@12"].tolist() == pytest.approx([1 / 2, 0, 0])


def test_bootstrap() -> None:
    assert asdict(interval(np.zeros(50))) == {"mean": 0, "low": 0, "high": 0}
    assert asdict(interval(np.full(7, 0.25))) == {"mean": 0.25, "low": 0.25, "high": 0.25}
    coins = np.tile([0.0, 1.0], 200)
    found = interval(coins)
    half = 1.96 * 0.5 / math.sqrt(len(coins))  # the normal approximation
    assert (found.low, found.high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.003)
    assert interval(coins) == found
    noise = np.random.default_rng(0).normal(size=30)
    assert interval(noise, seed=1) != interval(noise) == interval(noise)
    assert interval(coins, samples=3 * SAMPLES).low == pytest.approx(found.low, abs=0.003)
    assert type(found.mean) is type(found.low) is float
    assert interval(coins, level=0.5).low > found.low


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return prepare(read(write(tmp_path / "set")), candidates=3)


def test_modes_are_compared_and_one_is_loaded_at_a_time(task: Task) -> None:
    loaded: list[weakref.ref[Reranker]] = []

    def load(factor: float) -> Callable[[], Reranker]:
        def make() -> Reranker:
            assert not any(reference() for reference in loaded)
            reranker = fake(factor)
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
        evaluate([task, task], {"up": fake})


def test_low_grades_are_told(task: Task) -> None:
    (report,) = evaluate([task], {"up": fake}, min_grade=2)
    assert report.notes["queries without a document of grade 2 (0 in MRR, P and Recall)"] == 2


def test_truncation_is_counted_and_ties_keep_the_first_stages_order(task: Task) -> None:
    found = rerank(fake(0.0, max_length=8), task)
    assert {query: [key for key, _ in ranked] for query, ranked in found.run.items()} == {
        query: [key for key, _ in ranked] for query, ranked in task.run.items()
    }
    assert 0 < found.cut <= found.pairs
    assert found.seconds > 0
    reports = evaluate([task], {"up": lambda: fake(max_length=8), "down": lambda: fake(-1)})
    assert cut_in_words(reports, 8) == [f"up: cut to max_length=8 tokens: {found.cut} of {found.pairs} pairs"]


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


@pytest.mark.parametrize(("suffix", "start"), [(".svg", b"<?xml"), (".png", b"\x89PNG")])
def test_chart(tmp_path: Path, task: Task, suffix: str, start: bytes) -> None:
    reports = evaluate([task, replace(task, name="中文", first_stage="candidates.tsv")], {"up": fake})
    draw(reports, tmp_path / f"chart{suffix}", title="a title")
    assert (tmp_path / f"chart{suffix}").read_bytes().startswith(start)
    with pytest.raises(InputError, match="cannot be written"):
        draw(reports, tmp_path / f"no/chart{suffix}", title="")


# The data's README has 0.310 for cranfield, with the excluded documents and each of a query's words counted once.
@pytest.mark.parametrize(
    ("name", "ndcg"), [("xquad_zh", 0.967), ("stard_zh", 0.472), ("cranfield", 0.362), ("trec_dl19", 0.506)]
)
def test_first_stages_of_the_shared_sets(name: str, ndcg: float) -> None:
    if not (EVAL / name).is_dir():
        pytest.skip(f"needs the set {EVAL / name}")
    task = prepare(read(EVAL / name))
    values: Mapping[str, NDArray[np.float64]] = measure(task.grades, task.run, depth=100)
    assert values["nDCG@10"].mean() == pytest.approx(ndcg, abs=0.001)
