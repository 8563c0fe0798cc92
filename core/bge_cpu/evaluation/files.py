"""Texts, grades and rankings from files, plain or gzipped; what is wrong with one is told by file and line."""

import gzip
import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bge_cpu.errors import InputError
from bge_cpu.inputs import check_text

Grades = dict[str, dict[str, int]]  # query id -> document id -> grade
Candidates = list[tuple[str, float]]  # (document id, score), best first
Run = dict[str, Candidates]  # query id -> its documents

_HEADS = ("query-id", "query_id", "queryid", "qid", "query", "topic")  # how a header row begins


def find(folder: Path, *names: str) -> Path | None:
    """The first of the files that is in a folder, as it is or with `.gz` after its name."""
    files = [folder / f"{name}{gz}" for name in names for gz in ("", ".gz")]
    return next((file for file in files if file.is_file()), None)


def lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines that hold something, with their numbers, from 1.

    Raises:
        InputError: The file cannot be read, or is not UTF-8.
    """
    return ((number, line) for number, line in _all_lines(file) if line.strip())


def _all_lines(file: Path) -> Iterator[tuple[int, str]]:
    """All lines, those without text, too; numbers and errors are those of `lines`."""
    number = 0
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            for number, data in enumerate(stream, 1):
                line = data.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                yield number, line
    except UnicodeDecodeError as error:
        raise InputError(f"line {number} of {file} is not UTF-8: {error.reason}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def read_texts(file: Path) -> dict[str, str]:
    """Texts by id, from JSON lines with `_id` or `id`, `text`, and perhaps `title`, which goes before the text.

    Raises:
        InputError: The file cannot be read, or a line is no such object or repeats an id.
    """
    found: dict[str, str] = {}
    for number, line in lines(file):
        where = f"line {number} of {file}"
        record = _object(line, where)
        key = record.get("_id", record.get("id"))
        if isinstance(key, bool) or not isinstance(key, str | int) or key == "":
            raise InputError(f"{where} has no id: `_id` or `id` is a text or a whole number, not {key!r}")
        if str(key) in found:
            raise InputError(f"{where} repeats the id {str(key)!r}")
        found[str(key)] = text_of(record, where)
    return found


def text_of(record: Mapping[str, Any], where: str) -> str:
    """The text of a record, its title before it, joined as BEIR joins them.

    Raises:
        InputError: There is no text, or text or title is something else.
    """
    if "text" not in record:
        held = ", ".join(map(repr, record)) or "nothing"
        raise InputError(f"{where} has no field 'text', but {held}")
    title = "" if record.get("title") is None else check_text(record["title"], f"title in {where}")
    return f"{title} {check_text(record['text'], f'text in {where}')}".strip()


def read_plain(file: Path) -> tuple[dict[str, str], int]:
    """Texts by line number, one per line; from a .jsonl file the `text` of each object, with its `title`.

    Returns:
        The texts, and how many lines were passed over because nothing is in them.

    Raises:
        InputError: The file cannot be read, or a line of a .jsonl file is no object with a text.
    """
    found, empty, objects = {}, 0, ".jsonl" in file.suffixes[-2:]
    for number, line in _all_lines(file):
        where = f"line {number} of {file}"
        if not line.strip():
            empty += 1
        else:
            found[str(number)] = text_of(_object(line, where), where) if objects else line.strip()
    return found, empty


def read_grades(file: Path) -> Grades:
    """Relevance grades, from columns query-id, corpus-id, score (BEIR) or query, iteration, document, grade (TREC).

    Raises:
        InputError: The file cannot be read, a line has other columns or no whole number, or two contradict each other.
    """
    found: Grades = {}
    for where, row in _rows(file):
        if len(row) not in (3, 4):
            raise InputError(f"{where} has {_columns(row)}, not query-id, corpus-id and score")
        query, document, grade = row[0], row[-2], _whole(row[-1], "score", where)
        if found.setdefault(query, {}).setdefault(document, grade) != grade:
            held = found[query][document]
            raise InputError(f"{where} gives document {document!r} of query {query!r} the score {grade}, after {held}")
    return found


def read_pairs(file: Path) -> dict[str, set[str]]:
    """Document ids by query id, from two columns.

    Raises:
        InputError: The file cannot be read, or a line has other columns.
    """
    found: dict[str, set[str]] = {}
    for where, row in _rows(file):
        if len(row) != 2:
            raise InputError(f"{where} has {_columns(row)}, not query-id and corpus-id")
        found.setdefault(row[0], set()).add(row[1])
    return found


def read_run(file: Path) -> Run:
    """A first stage's rankings: a TREC run, or columns query-id, corpus-id and, if there are more, rank and score.

    A TREC run (query, Q0, document, rank, score, tag) is read by falling score, as trec_eval does, then by rank; four
    columns by rank; two stand in the ranking's order.

    Raises:
        InputError: The file cannot be read, a line has other columns or no number where one belongs, or a query finds
            a document twice.
    """
    found: dict[str, list[tuple[float, int, str, float]]] = {}
    seen: set[tuple[str, str]] = set()
    for where, row in _rows(file):
        if len(row) == 6:
            query, _, document, rank, number, _ = row
            score = _number(number, "score", where)
            key = (-score, _whole(rank, "rank", where))
        elif len(row) == 4:
            query, document, rank, number = row
            score, key = _number(number, "score", where), (float(_whole(rank, "rank", where)), 0)
        elif len(row) == 2:
            query, document = row
            place = len(found.get(query, []))
            score, key = -float(place), (float(place), 0)
        else:
            raise InputError(
                f"{where} has {_columns(row)}, not a TREC run's six, nor query-id, corpus-id, rank and score"
            )
        if (query, document) in seen:
            raise InputError(f"{where} repeats document {document!r} of query {query!r}")
        seen.add((query, document))
        found.setdefault(query, []).append((*key, document, score))
    return {query: [(row[2], row[3]) for row in sorted(rows, key=_place)] for query, rows in found.items()}


def _place(row: tuple[float, int, str, float]) -> tuple[float, int]:
    return row[:2]


def _rows(file: Path) -> Iterator[tuple[str, Sequence[str]]]:
    """Where each row stands, and its columns: tab-separated, or by white space where there is no tab; no header."""
    for number, line in lines(file):
        row = [cell.strip() for cell in line.split("\t")] if "\t" in line else line.split()
        if number > 1 or row[0].lower() not in _HEADS:
            yield f"line {number} of {file}", row


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise InputError(f"{where} is not a JSON object, but {type(record).__name__}")
    return record


def _columns(row: Sequence[str]) -> str:
    return "1 column" if len(row) == 1 else f"{len(row)} columns"


def _whole(cell: str, what: str, where: str) -> int:
    try:
        return int(cell)
    except ValueError as error:
        raise InputError(f"{what} in {where} is a whole number, not {cell!r}") from error


def _number(cell: str, what: str, where: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{what} in {where} is a number, not {cell!r}")
    return number
