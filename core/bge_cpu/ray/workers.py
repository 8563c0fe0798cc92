"""A batch's shards on a Ray cluster: actors score them, this process reads their rows and writes their lines.

The cluster needs no shared file system: a shard's rows travel to an actor, and their lines come back. A shard whose
actor is lost is scored again, by the same actor started anew.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray

from bge_cpu.batch.flow import How, score
from bge_cpu.batch.folder import OutFolder, ShardFiles
from bge_cpu.batch.job import Job, Step, rows_at_once, step_of
from bge_cpu.batch.manifest import surroundings
from bge_cpu.batch.rows import Raw
from bge_cpu.batch.sources import open_reader
from bge_cpu.batch.sources.source import Shard
from bge_cpu.errors import BgeCpuError
from bge_cpu.inputs import check_count
from bge_cpu.reranker import Reranker

_AHEAD = 2  # shards that an actor has at a time, so that its cores do not idle at a shard's end
_RESTARTS = 16  # of an actor, on whatever node has room
_RETRIES = 3  # of a shard


@dataclass(frozen=True)
class Lines:
    """What became of a shard.

    Attributes:
        lines: The lines of its rows, in order, and whether each is a bad row's.
        steps: What there is to tell of them.
    """

    lines: list[tuple[bytes, bool]]
    step: Step


class RayWorkers:
    """Scores a batch's shards on a Ray cluster.

    Args:
        address: Where the cluster is; None means the one that Ray finds, or else a local one; "local" a local one.
        actors: How many actors; None means as many as the cluster's CPUs allow, one per node if `threads` is not given.
    """

    def __init__(self, address: str | None = None, *, actors: int | None = None) -> None:
        self._address = address
        self._actors = None if actors is None else check_count(actors, "the number of actors")

    def run(self, job: Job, shards: Iterable[Shard], tell: Callable[[Step], None]) -> None:
        """Start the actors, give each a shard after the other, write and publish what comes back."""
        with _connected(self._address), _translated():
            count, threads = self._shape(job.load["threads"])
            options = {
                "num_cpus": threads,
                "max_restarts": _RESTARTS,
                "max_task_retries": _RETRIES,
                "max_concurrency": _AHEAD,
            }
            actor = ray.remote(**options)(ShardActor)
            load = dict(job.load) | {"threads": threads}
            actors = [actor.remote(load, job.how, job.kind) for _ in range(count)]
            try:
                _check_alike(ray.get([actor.surroundings.remote() for actor in actors]), job.load["mode"])
                self._score(job, iter(shards), actors, tell)
            finally:
                for one in actors:
                    ray.kill(one)

    def _score(self, job: Job, todo: Iterator[Shard], actors: Sequence[Any], tell: Callable[[Step], None]) -> None:
        reader, folder = open_reader(job.kind, job.file), OutFolder(job.out)
        under_way: dict[Any, tuple[int, Any]] = {}

        def give(actor: Any) -> None:
            shard = next(todo, None)
            if shard is not None:
                under_way[actor.score.remote(shard, list(reader.rows(shard)))] = shard.number, actor

        for _ in range(_AHEAD):
            for actor in actors:
                give(actor)
        while under_way:
            (ready,), _ = ray.wait(list(under_way), num_returns=1)
            number, actor = under_way.pop(ready)
            found: Lines = ray.get(ready)
            give(actor)
            tell(_written(folder, number, found))

    def _shape(self, threads: int | None) -> tuple[int, int]:
        """How many actors, and the CPUs of each."""
        nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        nodes = [cpus for cpus in nodes if cpus]
        if not nodes:
            raise BgeCpuError("the Ray cluster has no CPUs")
        if threads is None:
            threads = min(nodes) if self._actors is None else max(1, min(min(nodes), sum(nodes) // self._actors))
        room = sum(cpus // threads for cpus in nodes)
        if room < (self._actors or 1):
            raise BgeCpuError(
                f"the Ray cluster has room for {room} actors with {threads} CPUs each, not for {self._actors or 1}"
            )
        return self._actors or room, threads


class ShardActor:
    """An actor: one loaded reranker that scores the rows of shards.

    Args:
        load: The keywords of `Reranker.load`.
        how: What is asked of each row.
        kind: The source's kind.
    """

    def __init__(self, load: Mapping[str, Any], how: How, kind: str) -> None:
        self._reranker = Reranker.load(**load)
        self._how = how
        self._kind = kind
        self._threads = load["threads"]

    def surroundings(self) -> dict[str, Any]:
        """The node's versions and CPU, as far as they decide over scores."""
        return surroundings(str(self._reranker.mode))

    def score(self, shard: Shard, given: list[tuple[int, Raw]]) -> Lines:
        """The lines of a shard's rows."""
        lines, steps = [], []
        scored = score(
            self._reranker, _Given(given), [shard], self._kind, self._how, rows_at_once=rows_at_once(self._threads)
        )
        with contextlib.closing(scored) as items:
            for item in items:
                if not isinstance(item, Shard):
                    lines.append((item.line, item.reason is not None))
                    steps.append(step_of(item))
        rows, pairs, bad, cut = (sum(getattr(step, name) for step in steps) for name in ("rows", "pairs", "bad", "cut"))
        first_bad = next((step.first_bad for step in steps if step.first_bad), None)
        return Lines(lines, Step(rows, pairs, bad, cut, first_bad))


class _Given:
    """A reader of rows that are there already."""

    def __init__(self, rows: list[tuple[int, Raw]]) -> None:
        self._rows = rows

    def rows(self, shard: Shard) -> Iterator[tuple[int, Raw]]:
        return iter(self._rows)


def _written(folder: OutFolder, number: int, found: Lines) -> Step:
    """A shard's lines, on disk under a name that nobody takes for whole."""
    files = ShardFiles(folder, number)
    try:
        for line, bad in found.lines:
            files.add(line, bad=bad)
        names = files.close()
    except BaseException:
        files.discard()
        raise
    return replace(found.step, shard=number, written=names)


def _check_alike(found: Sequence[Mapping[str, Any]], mode: str) -> None:
    """Refuse nodes on which the last bits of a score may be others."""
    here = surroundings(mode)
    other = next((there for there in found if there != here), None)
    if other is not None:
        raise BgeCpuError(
            f"the nodes of the Ray cluster differ: {here} here, {other} there",
            hint="install the same versions everywhere; results of one run come from one kind of CPU and software",
        )


@contextlib.contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """A connection to a cluster; one that the program has already is used and kept."""
    if ray.is_initialized():
        yield
        return
    try:
        local = {"include_dashboard": False} if address == "local" else {}
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING, **local)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise BgeCpuError(f"no Ray cluster at {address or 'hand'}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Ray's errors as ours."""
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, BgeCpuError):
            raise error.cause from None
        raise
    except ray.exceptions.RayActorError as error:
        raise BgeCpuError(
            f"an actor of the Ray cluster was lost for good: {str(error).splitlines()[0]}",
            hint="the shards that are done stay; the same command goes on from there",
        ) from error
