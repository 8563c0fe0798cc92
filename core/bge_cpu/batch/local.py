"""A batch in this process, or in several on this machine, each with its share of the threads."""

import contextlib
import queue
import tempfile
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

from bge_cpu.batch.job import Job, Step, written
from bge_cpu.batch.sources.source import Shard
from bge_cpu.engines import thread_limit
from bge_cpu.errors import BgeCpuError
from bge_cpu.machine import children
from bge_cpu.machine.cpu import available_cpus
from bge_cpu.reranker import Reranker

_Answers = queue.Queue[Step | BaseException | None]


class ThisProcess:
    """Scores a batch's shards in this process."""

    def run(self, job: Job, shards: Iterable[Shard], tell: Callable[[Step], None]) -> None:
        """Load the model, score the shards, publish each."""
        with contextlib.closing(written(job, Reranker.load(**job.load), shards)) as steps:
            for step in steps:
                tell(step)


class Processes:
    """Scores a batch's shards in several processes, which share the mapped weights but no lock.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        self._count = count

    def run(self, job: Job, shards: Iterable[Shard], tell: Callable[[Step], None]) -> None:
        """Start the processes, which take shard after shard, and publish what they write."""
        threads = max(1, (thread_limit(job.load["threads"]) or available_cpus()) // self._count)
        load = dict(job.load) | {"threads": threads, "cache_dir": job.load["cache_dir"] and str(job.load["cache_dir"])}
        fields = asdict(job) | {"load": load, "file": str(job.file), "out": str(job.out)}
        answers: _Answers = queue.Queue()
        ended = threading.Event()
        with tempfile.TemporaryDirectory(prefix="bge-cpu-", ignore_cleanup_errors=True) as folder:
            turns = Path(folder) / "turns"
            turns.write_text("0")
            task = {"job": fields, "shards": [astuple(shard) for shard in shards], "turns": str(turns)}
            for _ in range(self._count):
                threading.Thread(target=_listen, args=(task, answers, ended), daemon=True).start()
            try:
                _tell_all(answers, self._count, tell)
            finally:
                ended.set()


def _tell_all(answers: _Answers, count: int, tell: Callable[[Step], None]) -> None:
    """Tell the steps of so many processes until each is done.

    Raises:
        BgeCpuError: One failed.
    """
    while count:
        answer = answers.get()
        if answer is None:
            count -= 1
        elif isinstance(answer, Step):
            tell(answer)
        elif isinstance(answer, children.ChildFailed):
            raise BgeCpuError(
                f"a process of the batch failed: {answer.args[0]}",
                hint=answer.hint or "the shards that are done stay; the same command goes on from there",
            ) from answer
        else:
            raise answer


def _listen(task: dict[str, Any], answers: _Answers, ended: threading.Event) -> None:
    """Pass on what a process tells; once nobody listens any more, it is killed at its next row."""
    try:
        with contextlib.closing(children.answers("bge_cpu.batch.worker", task)) as told:
            for fields in told:
                if ended.is_set():
                    return
                answers.put(Step(**fields))
        answers.put(None)
    except BaseException as error:
        answers.put(error)
