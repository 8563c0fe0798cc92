"""What is a row, what is wrong with one that is none, and what never stands in a list of errors: texts."""

import datetime
import decimal
import json
from typing import Any

import pytest

from bge_cpu.batch.rows import BadRow, Raw, error_line, parse, result_line
from bge_cpu.ranking import Ranked, Ranking

SECRET = "hunter2"


def test_a_row_keeps_its_further_fields_and_its_documents_ids() -> None:
    raw = {"n": 1.5, "query": "q", "documents": ["a", {"text": "b", "id": 7}], "tags": ["熊猫", None]}
    row = parse(3, json.dumps(raw).encode())
    assert (row.query, row.documents, row.ids) == ("q", ["a", "b"], [None, 7])
    ranking = Ranking([Ranked(1, 0.75, "b", 0, (0, 1)), Ranked(0, 0.5, "a", 12)])
    line = result_line(3, row, ranking)
    assert line.endswith(b"\n")
    assert json.loads(line) == {
        "row": 3,
        "query": "q",
        "results": [
            {"index": 1, "score": 0.75, "id": 7, "span": [0, 1]},
            {"index": 0, "score": 0.5, "truncated_tokens": 12},
        ],
        "n": 1.5,
        "tags": ["熊猫", None],
    }


def test_no_documents_is_an_ordinary_row() -> None:
    row = parse(0, b'\xef\xbb\xbf{"query": "q", "documents": []}')
    assert json.loads(result_line(0, row, Ranking([]))) == {"row": 0, "query": "q", "results": []}


def test_a_line_is_one_line_for_all_readers() -> None:
    row = parse(0, {"query": "a\u2028b\x85c", "documents": [], "note": "x\u2029y\nz"})
    line = result_line(0, row, Ranking([])).decode()
    assert len(line.splitlines()) == 1
    assert json.loads(line)["query"] == "a\u2028b\x85c"
    assert json.loads(line)["note"] == "x\u2029y\nz"


def test_dates_and_decimals_of_parquet_become_texts() -> None:
    row = parse(0, {"query": "q", "documents": [], "d": datetime.date(2026, 11, 25), "x": decimal.Decimal("1.50")})
    assert json.loads(f"{{{row.kept[2:]}}}") == {"d": "2026-11-25", "x": "1.50"}


BAD: dict[str, tuple[Any, str]] = {
    "broken": (b'{"query": "hunter2", "docu', "not JSON"),
    "nothing": (b"hunter2", "not JSON"),
    "list": (b'["hunter2"]', "not a JSON object, but list"),
    "deep": (b"[" * 100_000, "not JSON"),
    "no query": ({"documents": [SECRET]}, "there is no field 'query'"),
    "null query": ({"query": None, "documents": [SECRET]}, "there is no field 'query'"),
    "no documents": ({"query": SECRET}, "there is no field 'documents'"),
    "empty query": ({"query": "  ", "documents": [SECRET]}, "query is empty"),
    "query type": ({"query": [SECRET], "documents": []}, "query is a text, not list"),
    "documents type": ({"query": "q", "documents": SECRET}, "documents is a list, not str"),
    "document type": ({"query": "q", "documents": ["a", 5]}, "document 1 is a text, not int"),
    "document null": ({"query": "q", "documents": [None]}, "document 0 is a text, not null"),
    "document without text": ({"query": "q", "documents": [{"body": SECRET}]}, "document 0 has no field 'text'"),
    "document id": ({"query": "q", "documents": [{"text": "a", "id": [SECRET]}]}, "the id of document 0 is a text or"),
    "surrogate": (b'{"query": "hunter2 \\ud800", "documents": []}', "query holds a lone surrogate (U+D800"),
    "surrogate kept": (b'{"query": "q", "documents": [], "k": "hunter2 \\ud800"}', "a field holds a lone surrogate"),
    "latin-1": ('{"query": "hunter2 é", "documents": []}'.encode("latin-1"), "not UTF-8: "),
    "utf-16": ('{"query": "hunter2", "documents": []}'.encode("utf-16"), "not UTF-8: "),
    "not a number": (b'{"query": "q", "documents": [], "k": NaN}', "not JSON: it has no NaN"),
    "not a number, parquet": ({"query": "q", "documents": [], "k": float("nan")}, "a field cannot be written"),
    "bytes": ({"query": "q", "documents": [], "k": SECRET.encode()}, "a field cannot be written"),
    "taken": ({"query": "q", "documents": [], "results": SECRET}, "the field 'results' is one that the results have"),
    "unread": (BadRow("the line has 5 bytes"), "the line has 5 bytes"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_row_is_told_without_its_texts(name: str) -> None:
    raw, reason = BAD[name]
    given: Raw = raw
    with pytest.raises(BadRow) as caught:
        parse(1, given)
    assert str(caught.value).startswith(reason)
    assert SECRET not in str(caught.value)


def test_an_error_names_the_line_of_json_lines() -> None:
    assert json.loads(error_line(16, "no", "jsonl")) == {"row": 16, "line": 17, "reason": "no"}
    assert json.loads(error_line(16, "no", "parquet")) == {"row": 16, "reason": "no"}
