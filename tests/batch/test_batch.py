"""A batch from input to results: equal to `Reranker.rank`, whatever kills it, in one process or several."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bge_cpu import Reranker
from bge_cpu.batch import Progress, rerank
from bge_cpu.errors import BgeCpuError, InputError
from tests.rows import read_lines, record, write_lines

# Scores the rows of argv[2] into argv[3] and notes in argv[4] whose turn it was; slowly, so that it can be killed.
WATCHED = """
import os, sys, time
from bge_cpu import Reranker
from bge_cpu.batch import rerank
notes, rank = os.open(sys.argv[4], os.O_WRONLY | os.O_APPEND | os.O_CREAT), Reranker.rank
def noted(self, query, documents, **options):
    os.write(notes, f"{query}\\n".encode())
    time.sleep(0.02)
    return rank(self, query, documents, **options)
Reranker.rank = noted
rerank(sys.argv[2], sys.argv[3], model=sys.argv[1], mode="onnx", shard_size=5)
"""


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "in.jsonl", [record(number) for number in range(23)])


def go(rows: Path, out: Path, checkpoint: Path, **options: Any) -> Progress:
    return rerank(rows, out, **{"model": checkpoint, "mode": "onnx", "shard_size": 5, **options})


def test_results_are_those_of_rank(rows: Path, tmp_path: Path, tiny_xlmr: Path, tiny_reranker: Reranker) -> None:
    seen: list[Progress] = []
    done = go(rows, tmp_path / "out", tiny_xlmr, top_n=2, normalize=None, tell=seen.append)
    assert (done.rows, done.done, done.pairs, done.bad, done.before) == (23, 23, 69, 0, 0)
    assert [progress.done for progress in seen] == sorted(progress.done for progress in seen)
    records = read_lines(rows)
    found = read_lines(tmp_path / "out/results.jsonl")
    assert [line["row"] for line in found] == list(range(23))
    for line, given in zip(found, records, strict=True):
        assert (line["id"], line["query"]) == (given["id"], given["query"])
        ranking = tiny_reranker.rank(given["query"], given["documents"], top_n=2, normalize=None)
        assert line["results"] == [{"index": item.index, "score": item.score} for item in ranking]
    parts = sorted((tmp_path / "out").glob("part-*.jsonl"))
    assert [len(read_lines(part)) for part in parts] == [5, 5, 5, 5, 3]
    assert b"".join(part.read_bytes() for part in parts) == (tmp_path / "out/results.jsonl").read_bytes()
    assert (tmp_path / "out/errors.jsonl").read_bytes() == b""
    assert sorted(file.name for file in (tmp_path / "out").glob(".*")) in ([], [".lock"])


def finished(out: Path) -> dict[str, tuple[int, int]]:
    """Which file each published file of a finished shard is, and when it was written."""
    done = {file.name.removeprefix("part-") for file in out.glob("part-*.jsonl")}
    files = [file for file in out.glob("*-0*.jsonl") if file.name.partition("-")[2] in done]
    return {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}


@pytest.mark.slow
def test_kill_9_at_any_time_costs_nothing_but_the_shard_at_hand(tmp_path: Path, tiny_xlmr: Path) -> None:
    lines = [record(number) if number % 7 else b"{broken" for number in range(60)]
    rows = write_lines(tmp_path / "in.jsonl", lines)
    go(rows, tmp_path / "undisturbed", tiny_xlmr)
    out, notes, chance = tmp_path / "out", tmp_path / "notes", random.Random(20)
    command = [sys.executable, "-c", WATCHED, str(tiny_xlmr), str(rows), str(out), str(notes)]
    published: dict[str, tuple[int, int]] = {}
    starts = 0
    while not (out / "results.jsonl").exists():
        starts += 1
        began = len(published)
        with subprocess.Popen(command) as process:
            while process.poll() is None and starts <= 3 and len(finished(out)) <= began + 1:
                time.sleep(0.005)
            if starts <= 3:
                time.sleep(chance.random() / 10)
                process.send_signal(signal.SIGKILL)
        assert starts <= 3 or process.returncode == 0
        now = finished(out)
        assert {name: now[name] for name in published} == published  # never touched again
        published = now
    assert starts == 4
    for name in ("results.jsonl", "errors.jsonl", "manifest.json"):
        assert (out / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()
    turns = Counter(notes.read_text().splitlines())
    twice = {turn for turn, count in turns.items() if count > 1}
    shards = {number // 5 for number in range(60) if number % 7 and record(number)["query"] in twice}
    assert len(shards) <= 3 * 2  # a shard at hand, and the next whose first rows were on their way
    assert not [file for file in out.iterdir() if file.name.endswith(".tmp")]


def test_bad_rows_do_not_stop_the_others_unless_strict(tmp_path: Path, tiny_xlmr: Path) -> None:
    lines = [record(0), b"{", record(2), b"", {"query": "q"}, record(5), {"query": "q", "documents": []}]
    rows = write_lines(tmp_path / "in.jsonl", lines)
    done = go(rows, tmp_path / "out", tiny_xlmr, shard_size=2)
    assert (done.rows, done.done, done.bad) == (7, 7, 2)
    assert [line["row"] for line in read_lines(tmp_path / "out/results.jsonl")] == [0, 2, 5, 6]
    assert [(line["row"], line["line"]) for line in read_lines(tmp_path / "out/errors.jsonl")] == [(1, 2), (4, 5)]
    with pytest.raises(InputError, match="row 1 is bad: not JSON"):
        go(rows, tmp_path / "strict", tiny_xlmr, shard_size=1, strict=True)
    assert sorted(file.name for file in (tmp_path / "strict").glob("*.jsonl")) == ["part-00000.jsonl"]
    go(rows, tmp_path / "strict", tiny_xlmr, shard_size=1)  # without it the rest follows
    assert len(read_lines(tmp_path / "strict/results.jsonl")) == 4
    with pytest.raises(InputError, match=r"there are bad rows already: .*errors-00001\.jsonl"):
        go(rows, tmp_path / "strict", tiny_xlmr, shard_size=1, strict=True)


def test_a_second_start_scores_nothing_and_another_run_is_refused(
    rows: Path, tmp_path: Path, tiny_xlmr: Path, mini: Path
) -> None:
    out = tmp_path / "out"
    go(rows, out, tiny_xlmr)
    before = {file: file.stat().st_mtime_ns for file in out.iterdir() if file.suffix == ".jsonl"}
    assert go(rows, out, tiny_xlmr).pairs == 0
    assert {file: file.stat().st_mtime_ns for file in out.iterdir() if file.suffix == ".jsonl"} == before
    others: dict[str, dict[str, Any]] = {
        "options.top_n was None and is 1": {"top_n": 1},
        "options.max_length was 512 and is 64": {"max_length": 64},
        "options.shard_size was 5 and is 6": {"shard_size": 6},
        "options.normalize was 'sigmoid' and is None": {"normalize": None},
        "mode was 'onnx' and is 'fp32'": {"mode": "fp32"},
        "the model is another": {"model": mini},
    }
    for difference, options in others.items():
        with pytest.raises(InputError, match=f"holds another run: .*{difference}"):
            go(rows, out, tiny_xlmr, **options)
    other = write_lines(tmp_path / "other.jsonl", [record(number) for number in range(1, 24)])
    with pytest.raises(InputError, match="holds another run: the input's content is another"):
        go(other, out, tiny_xlmr)
    (tmp_path / "elsewhere").mkdir()
    go(rows.rename(tmp_path / "elsewhere/renamed.jsonl"), out, tiny_xlmr)  # names and places do not count


@pytest.mark.parametrize("change", ["grows", "is touched"])
def test_an_input_that_changes_while_it_is_read_is_refused(
    rows: Path, tmp_path: Path, tiny_xlmr: Path, change: str
) -> None:
    def tell(progress: Progress) -> None:
        if progress.done == 7 and change == "grows":
            with rows.open("a") as stream:
                stream.write(json.dumps(record(99)) + "\n")
        elif progress.done == 7:
            os.utime(rows)

    out = tmp_path / "out"
    with pytest.raises(BgeCpuError, match="changed while it was read"):
        go(rows, out, tiny_xlmr, tell=tell)
    assert sorted(file.name for file in out.glob("*.jsonl")) == ["part-00000.jsonl"]
    if change == "grows":
        with pytest.raises(InputError, match=r"input.rows was 23 and is 24; the input's content is another"):
            go(rows, out, tiny_xlmr)
    else:
        assert go(rows, out, tiny_xlmr).before == 5


def test_several_processes_write_the_same_bytes(rows: Path, tmp_path: Path, tiny_xlmr: Path) -> None:
    go(rows, tmp_path / "one", tiny_xlmr, shard_size=1)
    done = go(rows, tmp_path / "two", tiny_xlmr, shard_size=1, processes=2)
    assert (done.done, done.pairs) == (23, 69)
    for name in ("results.jsonl", "errors.jsonl", "manifest.json"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


@pytest.mark.slow
def test_what_goes_wrong_in_a_process_is_told_here(tmp_path: Path, tiny_xlmr: Path) -> None:
    rows = write_lines(tmp_path / "in.jsonl", [record(0), b"{"])
    with pytest.raises(InputError, match="row 1 is bad"):
        go(rows, tmp_path / "out", tiny_xlmr, processes=2, strict=True)

    def kill_the_children(progress: Progress) -> None:
        if progress.done == 1:
            for file in Path("/proc/self/task").glob("*/children"):
                for child in file.read_text().split():
                    if b"bge_cpu.batch.worker" in Path("/proc", child, "cmdline").read_bytes():
                        os.kill(int(child), signal.SIGKILL)

    rows = write_lines(tmp_path / "more.jsonl", [record(number) for number in range(400)])
    with pytest.raises(BgeCpuError, match="a process of the batch failed: it was killed by signal 9"):
        go(rows, tmp_path / "killed", tiny_xlmr, shard_size=1, processes=2, tell=kill_the_children)
    done = go(rows, tmp_path / "killed", tiny_xlmr, shard_size=1)
    assert done.done == 400
    assert len(read_lines(tmp_path / "killed/results.jsonl")) == 400


def test_a_row_of_thousands_of_documents_between_short_ones(
    tmp_path: Path, tiny_xlmr: Path, tiny_reranker: Reranker
) -> None:
    documents = [f"word {number % 50}" for number in range(2_000)]
    rows = write_lines(tmp_path / "in.jsonl", [record(0), {"query": "word", "documents": documents}, record(2)])
    go(rows, tmp_path / "out", tiny_xlmr, top_n=3)
    lines = read_lines(tmp_path / "out/results.jsonl")
    assert [line["row"] for line in lines] == [0, 1, 2]
    expected = tiny_reranker.rank("word", documents, top_n=3)
    assert lines[1]["results"] == [{"index": item.index, "score": item.score} for item in expected]


def test_an_empty_input_gives_empty_results(tmp_path: Path, tiny_xlmr: Path) -> None:
    done = go(write_lines(tmp_path / "in.jsonl", []), tmp_path / "out", tiny_xlmr)
    assert (done.rows, done.done) == (0, 0)
    assert (tmp_path / "out/results.jsonl").read_bytes() == b""


def test_wrong_arguments_write_nothing(rows: Path, tmp_path: Path, tiny_xlmr: Path) -> None:
    wrong: list[dict[str, Any]] = [
        {"top_n": 0},
        {"shard_size": 0},
        {"processes": 0},
        {"normalize": "x"},
        {"long_documents": "x"},
    ]
    for options in wrong:
        with pytest.raises(InputError):
            go(rows, tmp_path / "out", tiny_xlmr, **options)
    assert not (tmp_path / "out").exists()
