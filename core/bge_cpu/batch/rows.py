"""A row of the input, one query and its documents, checked; and the lines that a result and a bad row become.

What is wrong with a row is told without its texts: they may be private, and a list of errors is passed around.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, NoReturn
from uuid import UUID

from bge_cpu.errors import InputError
from bge_cpu.inputs import check_text
from bge_cpu.ranking import Ranked, Ranking

TAKEN = ("row", "results")
"""The fields that an output line adds, and an input row may not bring."""

_LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}  # some readers end a line at these, too


class BadRow(Exception):
    """A row that cannot be scored; the message is the reason."""


Raw = bytes | Mapping[str, Any] | BadRow
"""A row as a source reads it: a line of JSON, an object, or what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Row:
    """A good row.

    Attributes:
        query: What is asked.
        documents: The texts to rank.
        ids: The documents' own ids, where the input has them; else None.
        kept: All further fields as JSON, each with a comma before it.
    """

    query: str
    documents: list[str]
    ids: list[str | int | None]
    kept: str


def parse(number: int, raw: Raw) -> Row:
    """Check a row.

    Args:
        number: Which row it is, from 0.
        raw: What a source read.

    Raises:
        BadRow: It is no query with a list of documents.
    """
    if isinstance(raw, BadRow):
        raise raw
    record = _object(raw, first=number == 0) if isinstance(raw, bytes) else raw
    for name in ("query", "documents"):
        if record.get(name) is None:
            raise BadRow(f"there is no field {name!r}")
    for name in TAKEN:
        if name in record:
            raise BadRow(f"the field {name!r} is one that the results have: rename it")
    query, documents = _text(record["query"], "query"), record["documents"]
    if not query.strip():
        raise BadRow("query is empty")
    if not isinstance(documents, list):
        raise BadRow(f"documents is a list, not {_kind(documents)}")
    texts = [_document(document, f"document {index}") for index, document in enumerate(documents)]
    ids = [_id(document, f"document {index}") for index, document in enumerate(documents)]
    return Row(query, texts, ids, _kept(record))


def result_line(number: int, row: Row, ranking: Ranking) -> bytes:
    """The line of a good row: its number, query, results and further fields."""
    results = [_result(item, row.ids[item.index]) for item in ranking]
    line = _dumped({"row": number, "query": row.query, "results": results})
    return f"{line[:-1]}{row.kept}}}\n".encode()


def error_line(number: int, reason: str, kind: str) -> bytes:
    """The line of a bad row; in a file of JSON lines, also the line's number, which counts from 1."""
    where = {"row": number, "line": number + 1} if kind == "jsonl" else {"row": number}
    return f"{_dumped(where | {'reason': reason})}\n".encode()


def _object(line: bytes, *, first: bool) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8-sig" if first else "utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise BadRow(f"not UTF-8: {error.reason} at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise BadRow(f"not JSON: {error}") from None
    if not isinstance(record, dict):
        raise BadRow(f"not a JSON object, but {_kind(record)}")
    return record


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"it has no {name}")


def _document(document: Any, what: str) -> str:
    if isinstance(document, Mapping):
        if document.get("text") is None:
            raise BadRow(f"{what} has no field 'text'")
        document = document["text"]
    return _text(document, what)


def _id(document: Any, what: str) -> str | int | None:
    found = document.get("id") if isinstance(document, Mapping) else None
    if isinstance(found, str):
        return _text(found, f"the id of {what}")
    if found is not None and (isinstance(found, bool) or not isinstance(found, int)):
        raise BadRow(f"the id of {what} is a text or a whole number, not {_kind(found)}")
    return found


def _text(text: Any, what: str) -> str:
    if not isinstance(text, str):
        raise BadRow(f"{what} is a text, not {_kind(text)}")
    try:
        return check_text(text, what)
    except InputError as error:
        raise BadRow(str(error.args[0])) from None


def _kept(record: Mapping[str, Any]) -> str:
    """The further fields as JSON, each with a comma before it; they must come out as they came in."""
    others = {name: value for name, value in record.items() if name not in ("query", "documents")}
    if not others:
        return ""
    try:
        text = _dumped(others)
        text.encode()
    except UnicodeEncodeError:
        raise BadRow("a field holds a lone surrogate: it is no text") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRow(f"a field cannot be written as JSON: {error}") from None
    return f", {text[1:-1]}"


def _result(item: Ranked, own_id: str | int | None) -> dict[str, Any]:
    result: dict[str, Any] = {"index": item.index, "score": item.score}
    if own_id is not None:
        result["id"] = own_id
    if item.span is not None:
        result["span"] = item.span
    if item.truncated_tokens:
        result["truncated_tokens"] = item.truncated_tokens
    return result


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain).translate(_LINE_ENDS)


def _plain(value: Any) -> str:
    """Parquet's dates, times and decimals as text."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal | UUID):
        return str(value)
    raise TypeError(f"JSON has no {type(value).__name__}")


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
