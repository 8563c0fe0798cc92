"""Rows of shards -> their lines, in order; several rows are on their way, so that no core idles at a row's end."""

import contextlib
import threading
import warnings
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from bge_cpu.batch.rows import BadRow, Raw, Row, error_line, parse, result_line
from bge_cpu.batch.sources.source import Reader, Shard
from bge_cpu.engines import Cancelled
from bge_cpu.errors import CheckpointError, InputError
from bge_cpu.ranking import Ranking
from bge_cpu.reranker import Reranker

_BYTES_ON_THE_WAY = 32 << 20  # of the rows on their way together; one larger row goes alone


@dataclass(frozen=True, slots=True)
class How:
    """What is asked of each row; the fields are keywords of `Reranker.rank`."""

    top_n: int | None = None
    normalize: str | None = "sigmoid"
    long_documents: str = "truncate"


@dataclass(frozen=True, slots=True)
class Scored:
    """What became of a row.

    Attributes:
        shard: Its shard.
        number: Which row it is.
        line: Its line, for the results or for the errors.
        reason: What is wrong with it; None for a good row.
        pairs: How many pairs were scored.
        cut: How many of its results stand for pairs that were cut to max_length.
    """

    shard: int
    number: int
    line: bytes
    reason: str | None = None
    pairs: int = 0
    cut: int = 0


def score(
    reranker: Reranker, reader: Reader, shards: Iterable[Shard], kind: str, how: How, *, rows_at_once: int
) -> Generator[Scored | Shard]:
    """Score the rows of shards, in order; after the rows of a shard comes the shard itself.

    Args:
        reranker: Scores them; a row is one call of its `rank`, and the calls under way share its threads.
        reader: Reads their rows.
        shards: Which shards; the next is asked for while rows of the last are still on their way.
        kind: The source's kind.
        how: What is asked of each row.
        rows_at_once: How many rows are on their way at most.

    Raises:
        BgeCpuError: The source changed or cannot be read, or the model cannot be run; no more rows are scored.
    """
    ended = threading.Event()
    with quiet(), ThreadPoolExecutor(rows_at_once, thread_name_prefix="bge-cpu-row") as pool:
        waiting = _Waiting(rows_at_once)
        try:
            for shard in shards:
                for number, raw in reader.rows(shard):
                    size = _size(raw)
                    yield from waiting.until_there_is_room(size)
                    waiting.add(pool.submit(_scored, reranker, shard.number, number, raw, kind, how, ended), size)
                    del raw
                waiting.end(shard)
            yield from waiting.all()
        finally:
            ended.set()  # left early: rows on their way end at their next run
            pool.shutdown(wait=False, cancel_futures=True)


class _Waiting:
    """Rows on their way, in order, and the ends of their shards.

    Args:
        most: How many rows at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: deque[tuple[Future[Scored], int] | Shard] = deque()
        self._rows = self._bytes = 0

    def add(self, row: Future[Scored], size: int) -> None:
        self._items.append((row, size))
        self._rows, self._bytes = self._rows + 1, self._bytes + size

    def end(self, shard: Shard) -> None:
        self._items.append(shard)

    def until_there_is_room(self, size: int) -> Iterator[Scored | Shard]:
        """What became of the first rows, each waited for, until there is room for another of so many bytes."""
        while self._rows and (self._rows >= self._most or self._bytes + size > _BYTES_ON_THE_WAY):
            yield self._next()

    def all(self) -> Iterator[Scored | Shard]:
        while self._items:
            yield self._next()

    def _next(self) -> Scored | Shard:
        item = self._items.popleft()
        if isinstance(item, Shard):
            return item
        row, size = item
        self._rows, self._bytes = self._rows - 1, self._bytes - size
        return row.result()


def _scored(
    reranker: Reranker, shard: int, number: int, raw: Raw, kind: str, how: How, ended: threading.Event
) -> Scored:
    """A row's line."""
    try:
        row, ranking = ranked(reranker, number, raw, how, cancelled=ended.is_set)
    except BadRow as error:
        reason = str(error)
        return Scored(shard, number, error_line(number, reason, kind), reason)
    cut = sum(item.truncated_tokens > 0 for item in ranking)
    return Scored(shard, number, result_line(number, row, ranking), pairs=len(row.documents), cut=cut)


def ranked(reranker: Reranker, number: int, raw: Raw, how: How, *, cancelled: Cancelled = None) -> tuple[Row, Ranking]:
    """A row, checked, and its ranking.

    Raises:
        BadRow: It is no query with documents, or the model has no score for it.
        concurrent.futures.CancelledError: `cancelled` said so.
    """
    row = parse(number, raw)
    try:
        ranking = reranker.rank(
            row.query,
            row.documents,
            top_n=how.top_n,
            normalize=how.normalize,
            long_documents=how.long_documents,
            cancelled=cancelled,
        )
    except (CheckpointError, InputError) as error:
        raise BadRow(str(error.args[0]).partition(":")[0]) from error  # behind the colon stand texts
    return row, ranking


def _size(raw: Raw) -> int:
    """About how many bytes a row takes."""
    if isinstance(raw, bytes):
        return len(raw)
    documents = raw.get("documents") if isinstance(raw, Mapping) else None
    return sum(len(str(document)) for document in documents) if isinstance(documents, list) else 0


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No warning per row that pairs were cut; the run tells how many in the end."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="cut to max_length")
        yield
