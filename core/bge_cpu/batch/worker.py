"""A child process of a batch: it loads the model once and scores one shard after the other, whichever is next."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock

from bge_cpu.batch.flow import How
from bge_cpu.batch.job import Job, written
from bge_cpu.batch.sources.source import Shard
from bge_cpu.reranker import Reranker


class Turns:
    """Numbers from 0 on, each given once, whichever process asks.

    Args:
        file: Where the next one stands; beside it is a lock.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = FileLock(f"{file}.lock")

    def take(self) -> int:
        """The next number."""
        with self._lock:
            number = int(self._file.read_text())
            self._file.write_text(str(number + 1))
        return number


def answers(task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Score shards, and tell each step, as `children.answers` asks.

    Args:
        task: The job's fields, the shards' fields, and the file of `Turns`.
    """
    fields = task["job"]
    job = Job(**fields | {"how": How(**fields["how"]), "file": Path(fields["file"]), "out": Path(fields["out"])})
    for step in written(job, Reranker.load(**job.load), _next(task["shards"], Turns(Path(task["turns"])))):
        yield asdict(step)


def _next(shards: list[list[int]], turns: Turns) -> Iterator[Shard]:
    while (number := turns.take()) < len(shards):
        yield Shard(*shards[number])
