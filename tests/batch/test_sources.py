"""Inputs read through and read again shard by shard: the rows, their numbers, and what is noticed of a change."""

import gzip
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bge_cpu.batch.rows import BadRow, Raw, parse
from bge_cpu.batch.sources import jsonl, open_reader, open_source
from bge_cpu.batch.sources.source import Source
from bge_cpu.errors import BgeCpuError, InputError
from bge_cpu.evaluation.files import read_run
from tests.rows import record, write_lines


def rows(source: Source, order: Sequence[int] | None = None) -> list[list[tuple[int, Raw]]]:
    reader = open_reader(source.kind, source.file)
    numbers = range(source.shard_count) if order is None else order
    return [list(reader.rows(source.shard(number))) for number in numbers]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(st.sampled_from([b"", b" ", b"\r", b"{}", b'{"a": 1}\r', b"x" * 40]), max_size=12),
    last=st.sampled_from([b"", b"{}", b"\xff"]),
    shard_size=st.integers(1, 5),
    block=st.integers(2, 50),
)
def test_shards_of_json_lines_are_the_files_lines(
    tmp_path: Path, lines: list[bytes], last: bytes, shard_size: int, block: int
) -> None:
    content = b"".join(line + b"\n" for line in lines) + last
    file = tmp_path / "in.jsonl"
    file.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl, "_BLOCK", block)
        source = jsonl.read_through(file, shard_size)
        found = rows(source)
    assert source.inputs[0].sha256 == hashlib.sha256(content).hexdigest()
    expected = [(number, line.rstrip(b"\r")) for number, line in enumerate([*lines, *([last] if last else [])])]
    assert source.rows == len(expected)
    assert source.shard_count == len(found) == -(-len(expected) // shard_size)
    assert [row for shard in found for row in shard] == [row for row in expected if row[1].strip()]
    assert all(number // shard_size == place for place, shard in enumerate(found) for number, _ in shard)


def test_a_line_without_end_is_a_bad_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "LONGEST_LINE", 100)
    file = write_lines(tmp_path / "in.jsonl", [b"a" * 99, b"b" * 101, b"c" * 5000, b"d"])
    first, second, third, last = rows(jsonl.read_through(file, 10))[0]
    assert first == (0, b"a" * 99)
    assert isinstance(second[1], BadRow)
    assert str(third[1]) == "the line has 5,001 bytes; at most 100 are read"
    assert last == (3, b"d")


def test_json_lines_that_change_are_noticed(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "in.jsonl", [record(number) for number in range(6)])
    source = jsonl.read_through(file, 2)
    source.check_unchanged()
    content = file.read_bytes()
    file.write_bytes(content.replace(b"q3", b"q9"))
    reader = open_reader("jsonl", file)
    assert len(list(reader.rows(source.shard(0)))) == 2
    with pytest.raises(BgeCpuError, match="changed while it was read"):
        list(reader.rows(source.shard(1)))
    with pytest.raises(BgeCpuError, match="changed while it was read"):
        source.check_unchanged()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(BgeCpuError, match="changed while it was read"):
        list(reader.rows(source.shard(2)))


@pytest.mark.parametrize("content", [gzip.compress(b"{}\n")], ids=["gzip"])
def test_compressed_lines_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in.jsonl.gz").write_bytes(content)
    with pytest.raises(InputError, match="is compressed"):
        open_source(tmp_path / "in.jsonl.gz", shard_size=1, index=tmp_path / "index")


def test_what_cannot_be_read_twice_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for file in (tmp_path, tmp_path / "pipe", tmp_path / "nowhere"):
        with pytest.raises(InputError):
            open_source(file, shard_size=1, index=tmp_path / "index")


def write_parquet(file: Path, records: list[dict[str, Any]], row_group_size: int) -> Path:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(records), file, row_group_size=row_group_size)
    return file


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [3, 1, 4], [1, 3], [2, 2]], ids=str)
@pytest.mark.parametrize("row_group_size", [1, 3, 100])
def test_shards_of_parquet_in_any_order(tmp_path: Path, order: list[int], row_group_size: int) -> None:
    records = [record(number) for number in range(9)]
    file = write_parquet(tmp_path / "in.parquet", records, row_group_size)
    source = open_source(file, shard_size=2, index=tmp_path / "index")
    assert (source.kind, source.rows, source.shard_count) == ("parquet", 9, 5)
    assert rows(source, order) == [
        [(number, records[number]) for number in range(2 * shard, min(9, 2 * shard + 2))] for shard in order
    ]


def test_parquet_without_the_columns_or_damaged(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "in.parquet", [{"query": "q", "texts": ["a"]}], 10)
    with pytest.raises(InputError, match="has no column documents, but query, texts"):
        open_source(file, shard_size=1, index=tmp_path / "index")
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(InputError, match="no readable Parquet file"):
        open_source(file, shard_size=1, index=tmp_path / "index")


def write_trec(folder: Path, run: str) -> tuple[Path, Path, Path]:
    (folder / "in.run").write_text(run)
    corpus = [
        {"_id": f"d{number}", "text": f"text {number}", "title": "T" if number == 2 else ""} for number in range(5)
    ]
    queries = [{"id": "q2", "text": "second"}, {"id": "q1", "text": "first"}, {"id": "unused", "text": "x"}]
    content = "".join(f"{json.dumps(line)}\n" for line in corpus)
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress(content.encode(), mtime=0))  # the same file each time
    return folder / "in.run", folder / "corpus.jsonl.gz", write_lines(folder / "queries.jsonl", queries)


def open_trec(folder: Path, run: str) -> Source:
    file, corpus, queries = write_trec(folder, run)
    return open_source(file, corpus=corpus, queries=queries, shard_size=2, index=folder / "index")


RUN = """q2 Q0 d1 2 1.5 t
q2 Q0 d3 1 1.5 t
q1 Q0 d2 1 0.5 t
q2 Q0 d0 3 9.0 t
q3 Q0 d0 1 1 t
q1 Q0 d9 2 0.25 t
"""


def test_a_trec_run_gives_a_row_per_query_in_the_order_of_its_scores(tmp_path: Path) -> None:
    source = open_trec(tmp_path, RUN)
    (first, second), (third,) = rows(source)
    assert first[1] == {
        "query": "second",
        "id": "q2",
        "documents": [
            {"id": "d0", "text": "text 0"},
            {"id": "d3", "text": "text 3"},
            {"id": "d1", "text": "text 1"},
        ],
    }
    assert [document for document, _ in read_run(tmp_path / "in.run")["q2"]] == parse(*first).ids
    assert str(second[1]) == "1 of its 2 documents are not in the corpus"
    assert str(third[1]) == "the query is not in the file of queries"
    made = source.file.stat().st_mtime_ns
    assert open_trec(tmp_path, RUN).file.stat().st_mtime_ns == made  # made once
    assert open_trec(tmp_path, RUN.replace("9.0", "0.1")).file != source.file  # other files, another index


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ("q1 d1 1\n", "line 1 of .* has 3 columns"),
        ("q1 Q0 d1 1 x t\n", "score in line 1 of .* is a number"),
        ("q1 Q0 d1 1 nan t\n", "score in line 1 of .* is a number"),
        ("q1 Q0 d1 1 2 t\nq1 Q0 d1 2 1 t\n", "line 2 of .* repeats document 'd1'"),
    ],
)
def test_a_wrong_run_is_refused(tmp_path: Path, run: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        open_trec(tmp_path, run)
    assert not [file for file in tmp_path.glob("index*") if not file.name.endswith(".tmp")]


def test_a_run_needs_both_corpus_and_queries(tmp_path: Path) -> None:
    file, corpus, _ = write_trec(tmp_path, RUN)
    with pytest.raises(InputError, match="both --corpus and --queries"):
        open_source(file, corpus=corpus, shard_size=1, index=tmp_path / "index")
