"""Rows from a Parquet file, a few at a time; one reader goes through the file once if shards come in order."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

from bge_cpu.batch.rows import BadRow, Raw
from bge_cpu.batch.sources.source import InputFile, Shard, Source, changed
from bge_cpu.errors import InputError

_ROWS_AT_ONCE = 64
_BUFFER = 1 << 20  # bytes of a column that are read at once, where else all of a row group's would be


def read_through(found: InputFile, shard_size: int) -> Source:
    """How many rows a file has.

    Raises:
        InputError: It is no Parquet file, or has no columns query and documents.
    """
    with _opened(found.file) as opened:
        names = opened.schema_arrow.names
        missing = [name for name in ("query", "documents") if name not in names]
        if missing:
            raise InputError(f"{found.file} has no column {' and no '.join(missing)}, but {', '.join(names)}")
        return Source("parquet", found.file, (found,), opened.metadata.num_rows, shard_size)


class Parquet:
    """Reads shards of a Parquet file.

    Args:
        file: The file.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._next = 0  # the number of the row that comes next
        self._records: Iterator[Raw] = iter(())

    def rows(self, shard: Shard) -> Iterator[tuple[int, Raw]]:
        """The rows of a shard."""
        if self._next != shard.first or not shard.first:
            self._records, self._next = _from_row(self._file, shard.first)
        for number in range(self._next, shard.first + shard.rows):
            record = next(self._records, None)
            if record is None:
                raise changed(self._file)
            self._next = number + 1
            if number >= shard.first:
                yield number, record


def _from_row(file: Path, row: int) -> tuple[Iterator[Raw], int]:
    """The records from the beginning of the row group that holds a row, and the number of the first."""
    first = 0
    with _opened(file) as opened:
        for group in range(opened.num_row_groups):
            size = opened.metadata.row_group(group).num_rows
            if row < first + size:
                return _records(file, group), first
            first += size
    return iter(()), first


def _records(file: Path, group: int) -> Iterator[Raw]:
    with _opened(file) as opened:
        groups = list(range(group, opened.num_row_groups))
        for batch in opened.iter_batches(_ROWS_AT_ONCE, row_groups=groups, use_threads=False):
            for index in range(batch.num_rows):
                yield _record(batch, index)


def _record(batch: Any, index: int) -> Raw:
    """A row as an object; a text that is not UTF-8 makes it a bad one."""
    try:
        return {name: batch.column(name)[index].as_py() for name in batch.schema.names}
    except UnicodeDecodeError as error:
        return BadRow(f"not UTF-8: {error.reason}")
    except (ValueError, OverflowError, pyarrow.ArrowException) as error:
        return BadRow(f"a field cannot be read: {type(error).__name__}")


def _opened(file: Path) -> Any:
    try:
        return parquet.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{file} is no readable Parquet file: {error}") from error
