"""Rows from JSON lines: a pass that finds the shards' places and the file's hash, and a reader that goes to a shard."""

import hashlib
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bge_cpu.batch.rows import BadRow, Raw
from bge_cpu.batch.sources.source import InputFile, Shard, Source, changed, stat
from bge_cpu.errors import InputError

_BLOCK = 1 << 20  # bytes read at once
LONGEST_LINE = 256 << 20
"""Bytes; a longer line is a bad row, so that a file without line ends does not fill the memory."""


def read_through(file: Path, shard_size: int) -> Source:
    """Find where the shards of a file lie, and its hash, in one pass.

    Raises:
        InputError: It cannot be read, or is compressed.
        BgeCpuError: It was changed meanwhile.
    """
    before = stat(file)
    ends, crcs = array("Q"), array("L")
    hashed, lines, crc, size, line_open = hashlib.sha256(), 0, 0, 0, False
    try:
        with file.open("rb", buffering=0) as stream:
            while block := stream.read(_BLOCK):
                if size == 0 and block[:2] == b"\x1f\x8b":
                    raise InputError(f"{file} is compressed", hint="gunzip it first: shards are read by their place")
                hashed.update(block)
                breaks = np.flatnonzero(np.frombuffer(block, np.uint8) == 10)
                done = 0
                for end in (breaks[shard_size - 1 - lines % shard_size :: shard_size] + 1).tolist():
                    ends.append(size + end)
                    crcs.append(zlib.crc32(block[done:end], crc))
                    crc, done = 0, end
                crc = zlib.crc32(block[done:], crc)
                lines += len(breaks)
                size += len(block)
                line_open = block[-1] != 10
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    if size > (ends[-1] if ends else 0):
        ends.append(size)
        crcs.append(crc)
    found = InputFile(file, before.st_size, before.st_mtime_ns, hashed.hexdigest())
    found.check_unchanged()
    if size != before.st_size:
        raise changed(file)
    return Source("jsonl", file, (found,), lines + line_open, shard_size, ends, crcs)


class JsonLines:
    """Reads shards of a file of JSON lines.

    Args:
        file: The file.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def rows(self, shard: Shard) -> Iterator[tuple[int, Raw]]:
        """The lines of a shard; the last comes once all of them are known to be what they were."""
        with self._file.open("rb", buffering=_BLOCK) as stream:
            stream.seek(shard.start)
            left, crc, last = shard.size, 0, shard.first + shard.rows - 1
            for number in range(shard.first, last + 1):
                line, size, crc = _line(stream, left, crc)
                left -= size
                if number == last and (left or crc != shard.crc):
                    raise changed(self._file)
                if isinstance(line, BadRow) or line.strip():
                    yield number, line


def _line(stream: BinaryIO, left: int, crc: int) -> tuple[bytes | BadRow, int, int]:
    """A line without its end, or what is wrong with it; its bytes; and the CRC-32 with it."""
    line = stream.readline(min(left, LONGEST_LINE))
    size, crc = len(line), zlib.crc32(line, crc)
    if line.endswith(b"\n") or size == left or not line:
        return line.rstrip(b"\r\n"), size, crc
    while size < left and (more := stream.readline(min(left - size, _BLOCK))):
        size, crc = size + len(more), zlib.crc32(more, crc)
        if more.endswith(b"\n"):
            break
    return BadRow(f"the line has {size:,} bytes; at most {LONGEST_LINE:,} are read"), size, crc
