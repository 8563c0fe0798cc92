"""Where rows come from: JSON lines, a Parquet file, or a TREC run with its corpus and queries.

An input is read through once before any row is scored: that gives its fingerprint, how many rows there are and where
each shard of them lies. The rows of a shard are read again when their turn comes, a few at a time.
"""

import hashlib
import importlib
from pathlib import Path
from types import ModuleType

from bge_cpu import extras
from bge_cpu.batch.sources import jsonl, trec
from bge_cpu.batch.sources.source import InputFile, Reader, Source, stat
from bge_cpu.errors import InputError


def open_source(
    file: Path, *, corpus: Path | None = None, queries: Path | None = None, shard_size: int, index: Path
) -> Source:
    """Read an input through.

    Args:
        file: JSON lines, a Parquet file (by its name or its first bytes), or with `corpus` and `queries` a TREC run.
        corpus: JSON lines with the run's documents: id (or _id), text, and perhaps title.
        queries: JSON lines with its queries: id (or _id) and text.
        shard_size: How many rows are a shard.
        index: Where a TREC run's index is kept.

    Raises:
        InputError: It cannot be read, or is not of its kind.
        BgeCpuError: It was changed meanwhile.
        MissingDependencyError: It is a Parquet file, and pyarrow is not installed.
    """
    if (corpus is None) != (queries is None):
        raise InputError("a TREC run needs its corpus and its queries: both --corpus and --queries")
    stat(file)
    if corpus is not None and queries is not None:
        return trec.read_through(tuple(map(_hashed, (file, corpus, queries))), index, shard_size)
    if _is_parquet(file):
        source: Source = _parquet().read_through(_hashed(file), shard_size)
        return source
    return jsonl.read_through(file, shard_size)


def open_reader(kind: str, file: Path) -> Reader:
    """A reader for what `open_source` found: its `kind` and `file`.

    Raises:
        InputError: The file cannot be opened.
    """
    if kind == "trec":
        return trec.Trec(file)
    if kind == "parquet":
        reader: Reader = _parquet().Parquet(file)
        return reader
    return jsonl.JsonLines(file)


def _parquet() -> ModuleType:
    """The module for Parquet files; only now, for it brings pyarrow along."""
    with extras.needed("batch", "a Parquet file"):
        return importlib.import_module("bge_cpu.batch.sources.parquet")


def _is_parquet(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(4) == b"PAR1" or file.suffix.lower() in (".parquet", ".pq")


def _hashed(file: Path) -> InputFile:
    status = stat(file)
    hashed = hashlib.sha256()
    try:
        with file.open("rb", buffering=0) as stream:
            while block := stream.read(1 << 20):
                hashed.update(block)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    found = InputFile(file, status.st_size, status.st_mtime_ns, hashed.hexdigest())
    found.check_unchanged()
    return found
