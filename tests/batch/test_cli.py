"""`bge-cpu batch`: what it prints, its exit codes, and a dry run."""

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from bge_cpu.batch.dry import estimate
from bge_cpu.errors import InputError
from bge_cpu.tokenizer import PairTokenizer
from tests.commands import Call, caller
from tests.rows import read_lines, record, write_lines


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tiny_xlmr: Path) -> Call:
    """`bge-cpu batch` in this process, on a tiny checkpoint."""
    called = caller(capsys, monkeypatch)
    return lambda *arguments: called("batch", *arguments, "--model", tiny_xlmr, "--mode", "onnx")


def test_a_run_with_bad_rows(call: Call, tmp_path: Path) -> None:
    long = {"query": "q", "documents": ["word " * 600]}
    rows = write_lines(tmp_path / "in.jsonl", [record(0), b'{"secret', long])
    code, out, err = call(rows, tmp_path / "out", "--top-n", "1")
    assert (code, out) == (0, f"{tmp_path}/out/results.jsonl: 3 rows; 4 pairs scored\n"), err
    assert err.splitlines() == [
        "3 rows, 0 of them done",
        f"warning: a bad row stands in {tmp_path}/out/errors.jsonl, with the reason",
        "warning: cut to max_length=512 tokens: 1 of the results",
    ]
    assert [len(line["results"]) for line in read_lines(tmp_path / "out/results.jsonl")] == [1, 1]
    assert "secret" not in (tmp_path / "out/errors.jsonl").read_text()
    _, out, _ = call(rows, tmp_path / "out", "--top-n", "1")
    assert out.endswith("3 rows, 3 of them done before; 0 pairs scored\n")


def test_empty_lines_are_counted_aloud(call: Call, tmp_path: Path) -> None:
    rows = write_lines(tmp_path / "in.jsonl", [b"", record(0), b"  ", b"{", record(3)])
    _, _, err = call(rows, tmp_path / "out")
    assert err.splitlines()[1] == "2 empty lines were passed over"
    assert [line["row"] for line in read_lines(tmp_path / "out/results.jsonl")] == [1, 4]
    _, out, err = call(rows, tmp_path / "out", "--dry-run")
    assert out.startswith("5 rows, 6 pairs, ")
    assert err == "2 empty lines were passed over\n"


def test_a_file_without_a_good_row_is_an_error(call: Call, tmp_path: Path) -> None:
    rows = write_lines(tmp_path / "in.jsonl", [{"id": "1", "text": "a passage"}, b"", b"{"])
    code, _, err = call(rows, tmp_path / "out")
    said = err.splitlines()
    assert (code, said[2]) == (
        2,
        f"error: no row is good; they stand in {tmp_path}/out/errors.jsonl; the first: there is no field 'query'",
    )
    assert said[3].startswith('hint: a row is {"query": ..., "documents": [...]}; ')
    assert len(read_lines(tmp_path / "out/errors.jsonl")) == 2
    code, out, err = call(rows, tmp_path / "out", "--dry-run")
    assert (code, err.splitlines()[1]) == (2, "error: no row is good; the first: there is no field 'query'")
    assert "2 bad rows" in out


def test_errors_are_a_line_and_a_hint(call: Call, tmp_path: Path) -> None:
    rows = write_lines(tmp_path / "in.jsonl", [record(0), b"{"])
    code, out, err = call(rows, tmp_path / "out", "--strict")
    assert (code, out) == (2, "")
    assert err.splitlines()[1].startswith("error: row 1 is bad: not JSON: ")
    code, _, err = call(tmp_path / "none.jsonl", tmp_path / "none")
    assert (code, err) == (2, f"error: {tmp_path}/none.jsonl cannot be read: No such file or directory\n")


def test_where_there_is_no_terminal_a_line_tells_now_and_then(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("bge_cpu.cli.batch"), "_LINE_EVERY", 0.0)
    rows = write_lines(tmp_path / "in.jsonl", [record(0), record(1)])
    _, _, err = call(rows, tmp_path / "out")
    assert re.search(r"^2 of 2 rows, [\d.,]+ pairs/s, 0 s left$", err, re.MULTILINE)


def test_a_dry_run_writes_nothing(call: Call, tmp_path: Path) -> None:
    long = {"query": "q", "documents": ["a " * 600]}
    rows = write_lines(tmp_path / "in.jsonl", [record(0), b"{", record(2, 40), long])
    code, out, err = call(rows, tmp_path / "out", "--dry-run")
    assert code == 0, err
    shown = out.splitlines()
    assert shown[0].startswith("4 rows, 44 pairs, ")
    assert "1 are cut" in shown[1]
    assert shown[2].startswith("1 bad rows; the first is row 1: not JSON")
    assert "on this machine" in shown[3]
    assert not (tmp_path / "out").exists()


def test_a_dry_run_counts_what_the_tokenizer_counts(tmp_path: Path, tiny_xlmr: Path) -> None:
    records = [record(number) for number in range(4)]
    rows = write_lines(tmp_path / "in.jsonl", records)
    load = {
        "model": str(tiny_xlmr),
        "mode": "onnx",
        "max_length": 512,
        "threads": 1,
        "revision": None,
        "local_files_only": True,
        "cache_dir": None,
        "min_fidelity": None,
    }
    found = estimate(rows, load=load)
    pairs = [(line["query"], text) for line in records for text in line["documents"]]
    encoded = PairTokenizer.load(tiny_xlmr / "tokenizer.json").encode(pairs)
    assert (found.rows, found.pairs, found.windows, found.bad) == (4, 12, 12, 0)
    assert found.tokens == sum(map(len, encoded))
    assert found.seconds is not None
    assert 0 < found.seconds < 600
    assert estimate(write_lines(rows, []), load=load).seconds is None
    with pytest.raises(InputError, match="row 0 is bad"):
        estimate(write_lines(rows, [json.dumps([]).encode()]), load=load, strict=True)


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ([], None),
        (["--ray"], "auto"),
        (["--ray", "--strict"], "auto"),
        (["--ray", "ray://head:10001"], "ray://head:10001"),
        (["--strict", "--ray", "local"], "local"),
    ],
)
def test_ray_takes_an_address_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], address: str | None
) -> None:
    module = importlib.import_module("bge_cpu.cli.batch")
    seen: list[Any] = []
    app = typer.Typer()

    @app.command(cls=module.RayTakesAnAddress)
    def verb(ray: Annotated[str | None, typer.Option("--ray")] = None, strict: bool = False) -> None:
        seen.append(ray)

    app(given, standalone_mode=False)
    assert seen == [address]


def test_without_ray_the_extra_is_named(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = write_lines(tmp_path / "in.jsonl", [record(0)])
    for name in [name for name in sys.modules if name.partition(".")[0] == "ray" or name.startswith("bge_cpu.ray")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = call(rows, tmp_path / "out", "--ray")
    assert code == 1
    assert err == "error: bge_cpu.ray needs ray, which is not installed\nhint: pip install 'bge-cpu[ray]'\n"
