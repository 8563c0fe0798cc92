"""Judged sets from both layouts; what is wrong with one is told by file and line."""

import gzip
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bge_cpu import InputError
from bge_cpu.evaluation import prepare, read
from tests.sets import CORPUS, GRADES, QUERIES, flat, jsonl


def test_both_layouts_give_the_same(tmp_path: Path) -> None:
    one_layout = flat(tmp_path / "flat")
    beir = tmp_path / "beir"
    (beir / "qrels").mkdir(parents=True)
    records = [{"_id": key, "title": "", "text": text, "metadata": {}} for key, text in CORPUS.items()]
    records[0] |= {"title": "red apples", "text": "grow on trees"}
    (beir / "corpus.jsonl.gz").write_bytes(gzip.compress(jsonl(records).encode()))
    queries = "\ufeff" + jsonl({"_id": key, "text": text} for key, text in QUERIES.items()).replace("\n", "\r\n\r\n")
    (beir / "queries.jsonl").write_bytes(queries.encode())
    (beir / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\n" + (one_layout / "qrels.tsv").read_text())
    (beir / "qrels/dev.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td4\t1\n")
    one, other = read(one_layout), read(beir)
    assert (one.name, other.name) == ("flat", "beir")
    assert asdict(one) == asdict(replace(other, name="flat"))
    assert (one.documents, one.queries, one.grades) == (CORPUS, QUERIES, GRADES)
    assert read(beir, split="dev").grades == {"q1": {"d4": 1}}
    with pytest.raises(InputError, match=r"qrels/train.tsv\nhint: its qrels have the splits dev, test"):
        read(beir, split="train")


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
    folder = flat(tmp_path / "set", **{file: content})
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
    folder = flat(tmp_path / "set")
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
