"""What an input is once it has been read through: its files, its rows, and the shards they fall into."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bge_cpu.batch.rows import Raw
from bge_cpu.errors import BgeCpuError, InputError


@dataclass(frozen=True, slots=True)
class Shard:
    """Some consecutive rows of a source.

    Attributes:
        number: Which shard it is, from 0.
        first: The number of its first row.
        rows: How many rows it has.
        start: In a file of JSON lines, its first byte.
        size: Its bytes.
        crc: Their CRC-32.
    """

    number: int
    first: int
    rows: int
    start: int = 0
    size: int = 0
    crc: int = 0


class Reader(Protocol):
    """Reads the rows of shards; cheapest when they come in order."""

    def rows(self, shard: Shard) -> Iterator[tuple[int, Raw]]:
        """The rows of a shard with their numbers; blank lines are left out.

        Raises:
            BgeCpuError: The source is no longer what it was, or cannot be read.
        """


@dataclass(frozen=True)
class InputFile:
    """A file as it was when it was read through.

    Attributes:
        file: Where it lies.
        size: Its bytes.
        modified: When it was changed last, in nanoseconds.
        sha256: The hash of its content.
    """

    file: Path
    size: int
    modified: int
    sha256: str

    def check_unchanged(self) -> None:
        """Refuse a file that has been changed since.

        Raises:
            BgeCpuError: Its size or its modification time is another.
        """
        status = stat(self.file)
        if (status.st_size, status.st_mtime_ns) != (self.size, self.modified):
            raise changed(self.file)


@dataclass(frozen=True)
class Source:
    """An input that has been read through.

    Attributes:
        kind: "jsonl", "parquet" or "trec".
        file: What readers open.
        inputs: The files it consists of.
        rows: How many rows it has.
        shard_size: How many of them are a shard.
        ends: For JSON lines, where each shard ends.
        crcs: For JSON lines, each shard's CRC-32.
    """

    kind: str
    file: Path
    inputs: tuple[InputFile, ...]
    rows: int
    shard_size: int
    ends: Sequence[int] = field(default=(), repr=False)
    crcs: Sequence[int] = field(default=(), repr=False)

    @property
    def shard_count(self) -> int:
        """How many shards there are."""
        return -(-self.rows // self.shard_size)

    def shard(self, number: int) -> Shard:
        """A shard by its number, from 0."""
        first = number * self.shard_size
        rows = min(self.shard_size, self.rows - first)
        if self.kind != "jsonl":
            return Shard(number, first, rows)
        start = self.ends[number - 1] if number else 0
        return Shard(number, first, rows, start, self.ends[number] - start, self.crcs[number])

    def fingerprint(self) -> list[dict[str, Any]]:
        """Each file's size and hash; names and places do not count."""
        return [{"bytes": file.size, "sha256": file.sha256} for file in self.inputs]

    def check_unchanged(self) -> None:
        """Refuse an input that has been changed since it was read through.

        Raises:
            BgeCpuError: The size or modification time of a file is another.
        """
        for file in self.inputs:
            file.check_unchanged()


def stat(file: Path) -> os.stat_result:
    """A file's size and times.

    Raises:
        InputError: There is no such file, or it is a folder or a pipe, which cannot be read twice.
    """
    try:
        status = file.stat()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    if not file.is_file():
        raise InputError(f"{file} is no file: a batch reads its input twice, so that it can be resumed")
    return status


def changed(file: Path) -> BgeCpuError:
    """The error of a file that is not what it was when it was read through."""
    return BgeCpuError(
        f"{file} changed while it was read",
        hint="start again in another folder once it is complete; in this one only if its content is what it was",
    )
