"""`--dry-run`: all rows read and checked, all tokens counted, and from a short measurement how long scoring would take.

Only the tokenizer is loaded here; the measurement runs in a child process, on a sample of the pairs.
"""

import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bge_cpu.batch.rows import BadRow, Row, parse
from bge_cpu.batch.sources import open_reader, open_source
from bge_cpu.batch.sources.source import Source
from bge_cpu.checkpoint import open_checkpoint
from bge_cpu.engines import TokenizedPair
from bge_cpu.errors import BgeCpuError, InputError
from bge_cpu.inputs import check_long_documents, fit_max_length
from bge_cpu.machine import children
from bge_cpu.tokenizer import PairTokenizer

_SAMPLE = 64  # windows that are timed
_PAIRS_AT_ONCE = 1024  # encoded together
_CHARACTERS_AT_ONCE = 4 << 20
_SHARD = 1000  # rows; nothing is written, so that the size is free


@dataclass
class Estimate:
    """What a batch would have to do.

    Attributes:
        rows: Rows of the input, bad ones included.
        empty: Lines without text, which are passed over.
        bad: Bad rows.
        first_bad: The number and reason of the first.
        pairs: (query, document) pairs.
        windows: What the model runs: a pair each, or more where long documents are read in windows.
        tokens: Tokens of all windows.
        cut: Windows that max_length cuts.
        seconds: How long it would take; None where there is nothing to score.
    """

    rows: int = 0
    empty: int = 0
    bad: int = 0
    first_bad: tuple[int, str] | None = None
    pairs: int = 0
    windows: int = 0
    tokens: int = 0
    cut: int = 0
    seconds: float | None = None


def estimate(
    source: str | Path,
    *,
    corpus: str | Path | None = None,
    queries: str | Path | None = None,
    load: dict[str, Any],
    long_documents: str = "truncate",
    strict: bool = False,
    tell: Callable[[Estimate], None] | None = None,
) -> Estimate:
    """Read all rows, count their tokens, and estimate the time that scoring them would take; nothing is written.

    Args:
        source: As in `rerank`, like `corpus` and `queries`.
        corpus: A TREC run's documents.
        queries: A TREC run's queries.
        load: The keywords of `Reranker.load`.
        long_documents: As in `Reranker.rank`.
        strict: End at the first bad row.
        tell: Called with what is counted so far, after some rows.

    Raises:
        InputError: An argument is wrong, or, if `strict`, a row is bad.
        BgeCpuError: The input changed meanwhile, or the model cannot be loaded.
    """
    check_long_documents(long_documents)
    checkpoint = open_checkpoint(load["model"], revision=load["revision"], local_files_only=load["local_files_only"])
    max_length = fit_max_length(load["max_length"], checkpoint.max_length, checkpoint.name)
    tokenizer = PairTokenizer.load(checkpoint.tokenizer, max_length)
    with tempfile.TemporaryDirectory(prefix="bge-cpu-") as temporary:
        opened = open_source(
            Path(source),
            corpus=None if corpus is None else Path(corpus),
            queries=None if queries is None else Path(queries),
            shard_size=_SHARD,
            index=Path(temporary) / "index",
        )
        found = Estimate(rows=opened.rows)
        sample = _Sample()
        for pairs in _pieces(_rows(opened, found, strict)):
            _count(tokenizer, pairs, long_documents == "windows", found, sample)
            if tell:
                tell(found)
        opened.check_unchanged()
    found.seconds = _seconds(load, sample.kept, found.tokens)
    return found


def _rows(source: Source, found: Estimate, strict: bool) -> Iterator[Row]:
    """The good rows; bad ones are counted."""
    reader = open_reader(source.kind, source.file)
    for shard in map(source.shard, range(source.shard_count)):
        found.empty += shard.rows
        for number, raw in reader.rows(shard):
            found.empty -= 1
            try:
                yield parse(number, raw)
            except BadRow as error:
                if strict:
                    raise InputError(f"row {number} is bad: {error}") from None
                found.bad += 1
                found.first_bad = found.first_bad or (number, str(error))


def _pieces(rows: Iterator[Row]) -> Iterator[list[tuple[str, str]]]:
    """The pairs of all rows, some at a time."""
    piece: list[tuple[str, str]] = []
    characters = 0
    for row in rows:
        for document in row.documents:
            piece.append((row.query, document))
            characters += len(document)
            if len(piece) == _PAIRS_AT_ONCE or characters > _CHARACTERS_AT_ONCE:
                yield piece
                piece, characters = [], 0
    if piece:
        yield piece


def _count(
    tokenizer: PairTokenizer, pairs: list[tuple[str, str]], whole: bool, found: Estimate, sample: "_Sample"
) -> None:
    found.pairs += len(pairs)
    for window in tokenizer.windows(pairs, whole=whole):
        found.windows += 1
        found.tokens += len(window.pair)
        found.cut += window.pair.truncated_tokens > 0
        sample.offer(window.pair)


class _Sample:
    """Some of the windows, each as likely as any other, and the same in every run."""

    def __init__(self) -> None:
        self.kept: list[TokenizedPair] = []
        self._random = random.Random(0)
        self._seen = 0

    def offer(self, window: TokenizedPair) -> None:
        self._seen += 1
        if len(self.kept) < _SAMPLE:
            self.kept.append(window)
        elif (place := self._random.randrange(self._seen)) < _SAMPLE:
            self.kept[place] = window


def _seconds(load: dict[str, Any], sample: list[TokenizedPair], tokens: int) -> float | None:
    """How long so many tokens take, from the time that a child process takes for some of the sample."""
    if not sample:
        return None
    cache_dir = load["cache_dir"] and str(load["cache_dir"])
    task = {
        "load": load | {"model": str(load["model"]), "cache_dir": cache_dir},
        "windows": [[window.ids.tolist(), window.type_ids.tolist()] for window in sample],
    }
    try:
        measured = children.ask("bge_cpu.batch.measure", task)
    except children.ChildFailed as error:
        raise BgeCpuError(f"the time could not be measured: {error.args[0]}", hint=error.hint) from error
    return float(measured["seconds"]) * tokens / int(measured["tokens"])
