"""What each worker of a batch gets to know, and what it does with its shards: score them, write them, tell of it."""

import contextlib
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bge_cpu.batch.flow import How, Scored, score
from bge_cpu.batch.folder import OutFolder, ShardFiles
from bge_cpu.batch.sources import open_reader
from bge_cpu.batch.sources.source import Shard
from bge_cpu.engines import thread_limit
from bge_cpu.machine.cpu import available_cpus
from bge_cpu.reranker import Reranker


@dataclass(frozen=True)
class Job:
    """A batch, as its workers know it.

    Attributes:
        load: The keywords of `Reranker.load`; `threads` are those of all workers together.
        how: What is asked of each row.
        kind: The source's kind.
        file: What its readers open.
        out: The folder.
    """

    load: Mapping[str, Any]
    how: How
    kind: str
    file: Path
    out: Path


@dataclass(frozen=True, slots=True)
class Step:
    """Some progress: rows that were read and pairs that were scored since the last.

    Attributes:
        rows: Rows, good or bad.
        pairs: Pairs that were scored.
        bad: Bad rows.
        first_bad: The number and reason of the first of them.
        cut: Results that stand for pairs cut to max_length.
        shard: The shard that is written with it, to be published, if one is.
        written: What its files are to be called, and how they are called until then.
    """

    rows: int = 0
    pairs: int = 0
    bad: int = 0
    cut: int = 0
    first_bad: Sequence[Any] | None = None
    shard: int | None = None
    written: Mapping[str, str] = field(default_factory=dict)


class Workers(Protocol):
    """What scores a batch's shards: this process, several, or a Ray cluster."""

    def run(self, job: Job, shards: Iterable[Shard], tell: Callable[[Step], None]) -> None:
        """Score shards; each is published by `tell` as soon as it is on disk.

        Raises:
            BgeCpuError: A shard cannot be scored or written; those that are done stay.
        """


def written(job: Job, reranker: Reranker, shards: Iterable[Shard]) -> Generator[Step]:
    """Score shards with a reranker and write each under a temporary name.

    Args:
        job: The batch.
        reranker: Scores them.
        shards: Which; each is asked for while rows of the last are still on their way.
    """
    reader, folder = open_reader(job.kind, job.file), OutFolder(job.out)
    files: ShardFiles | None = None
    try:
        scored = score(reranker, reader, shards, job.kind, job.how, rows_at_once=rows_at_once(job.load["threads"]))
        with contextlib.closing(scored) as items:
            for item in items:
                number = item.number if isinstance(item, Shard) else item.shard
                files = files or ShardFiles(folder, number)
                if isinstance(item, Shard):
                    names, files = files.close(), None
                    yield Step(shard=item.number, written=names)
                else:
                    files.add(item.line, bad=item.reason is not None)
                    yield step_of(item)
    finally:
        if files is not None:
            files.discard()


def rows_at_once(threads: int | None) -> int:
    """How many rows are on their way: one for each thread, and two that wait for their turn or are being encoded."""
    return (thread_limit(threads) or available_cpus()) + 2


def step_of(item: Scored) -> Step:
    """The progress that a row is."""
    bad = None if item.reason is None else (item.number, item.reason)
    return Step(rows=1, pairs=item.pairs, bad=int(bad is not None), cut=item.cut, first_bad=bad)
