"""Rows from a TREC run, its corpus and its queries: a row per query, its documents in the run's order.

Neither a run nor a corpus needs to fit into memory: what the run names is gathered in an index on disk first.
"""

import contextlib
import hashlib
import json
import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bge_cpu.batch.rows import BadRow, Raw
from bge_cpu.batch.sources.source import InputFile, Shard, Source
from bge_cpu.errors import InputError
from bge_cpu.evaluation.files import lines, text_of

_SCHEMA = """
CREATE TABLE queries (number INTEGER PRIMARY KEY, id TEXT UNIQUE, text TEXT);
CREATE TABLE candidates (query INTEGER, document TEXT, score REAL, rank INTEGER, UNIQUE (query, document));
CREATE TABLE documents (id TEXT PRIMARY KEY, text TEXT) WITHOUT ROWID;
"""


def read_through(inputs: tuple[InputFile, ...], index: Path, shard_size: int) -> Source:
    """Gather what a run names in an index, unless that is there already.

    Args:
        inputs: The run, the corpus and the queries.
        index: Where the index is or will be; the hash of the files is added to its name.
        shard_size: How many rows are a shard.

    Raises:
        InputError: A line of a file is wrong.
    """
    key = hashlib.sha256("".join(file.sha256 for file in inputs).encode()).hexdigest()[:16]
    index = index.with_name(f"{index.name}-{key}")
    if not index.is_file():
        temporary = index.with_name(f"{index.name}.tmp")
        temporary.unlink(missing_ok=True)
        with _opened(temporary) as base, base:
            base.executescript(_SCHEMA)
            _add_run(base, inputs[0].file)
            _add_documents(base, inputs[1].file)
            _add_queries(base, inputs[2].file)
        temporary.rename(index)
    with _opened(index) as base:
        (rows,) = base.execute("SELECT count(*) FROM queries").fetchone()
    return Source("trec", index, inputs, int(rows), shard_size)


class Trec:
    """Reads shards of a run from its index.

    Args:
        index: The index that `read_through` made.
    """

    def __init__(self, index: Path) -> None:
        self._index = index

    def rows(self, shard: Shard) -> Iterator[tuple[int, Raw]]:
        """The queries of a shard with their documents."""
        with _opened(self._index) as base:
            for number in range(shard.first, shard.first + shard.rows):
                yield number, _row(base, number)


def _row(base: sqlite3.Connection, number: int) -> Raw:
    name, query = base.execute("SELECT id, text FROM queries WHERE number = ?", (number,)).fetchone()
    if query is None:
        return BadRow("the query is not in the file of queries")
    found = base.execute(
        "SELECT document, text FROM candidates LEFT JOIN documents ON id = document WHERE query = ? "
        "ORDER BY score DESC, rank, candidates.rowid",
        (number,),
    ).fetchall()
    missing = sum(text is None for _, text in found)
    if missing:
        return BadRow(f"{missing:,} of its {len(found):,} documents are not in the corpus")
    return {"query": query, "documents": [{"id": key, "text": text} for key, text in found], "id": name}


def _add_run(base: sqlite3.Connection, file: Path) -> None:
    """Queries in the order in which they come first, and their candidates."""
    numbers: tuple[str, int] = ("", -1)  # of the query at hand: a run's lines mostly stand together
    for line_number, line in lines(file):
        where, row = f"line {line_number} of {file}", line.split()
        if len(row) != 6:
            raise InputError(f"{where} has {len(row)} columns, not a TREC run's six: query Q0 document rank score tag")
        query, document = row[0], row[2]
        if query != numbers[0] or numbers[1] < 0:
            base.execute(
                "INSERT OR IGNORE INTO queries SELECT coalesce(max(number) + 1, 0), ?, NULL FROM queries", (query,)
            )
            numbers = query, base.execute("SELECT number FROM queries WHERE id = ?", (query,)).fetchone()[0]
        values = (numbers[1], document, _number(row[4], "score", where), _number(row[3], "rank", where))
        try:
            base.execute("INSERT INTO candidates VALUES (?, ?, ?, ?)", values)
        except sqlite3.IntegrityError:
            raise InputError(f"{where} repeats document {document!r} of query {query!r}") from None


def _add_documents(base: sqlite3.Connection, file: Path) -> None:
    """The texts of the documents that the run names."""
    base.execute("CREATE INDEX by_document ON candidates (document)")
    for where, key, text in _texts(file):
        if base.execute("SELECT 1 FROM candidates WHERE document = ? LIMIT 1", (key,)).fetchone():
            try:
                base.execute("INSERT INTO documents VALUES (?, ?)", (key, text))
            except sqlite3.IntegrityError:
                raise InputError(f"{where} repeats the id {key!r}") from None


def _add_queries(base: sqlite3.Connection, file: Path) -> None:
    for _, key, text in _texts(file):
        base.execute("UPDATE queries SET text = ? WHERE id = ?", (text, key))


def _texts(file: Path) -> Iterator[tuple[str, str, str]]:
    """Where each text of JSON lines stands, its id and the text itself, its title before it."""
    for number, line in lines(file):
        where = f"line {number} of {file}"
        try:
            record: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where} is not JSON: {error}") from None
        key = record.get("_id", record.get("id")) if isinstance(record, dict) else None
        if isinstance(key, bool) or not isinstance(key, str | int) or key == "":
            raise InputError(f"{where} has no id: `_id` or `id` is a text or a whole number")
        yield where, str(key), text_of(record, where)


def _number(cell: str, what: str, where: str) -> float:
    with contextlib.suppress(ValueError):
        if math.isfinite(number := float(cell)):
            return number
    raise InputError(f"{what} in {where} is a number, not {cell!r}")


@contextlib.contextmanager
def _opened(index: Path) -> Iterator[sqlite3.Connection]:
    base = sqlite3.connect(index)
    try:
        yield base
    except sqlite3.OperationalError as error:  # the disk is full, for instance
        raise OSError(0, str(error), str(index)) from error
    finally:
        base.close()
