"""A task's candidates in the order that a reranker gives them, with what it took."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from bge_cpu.errors import InputError
from bge_cpu.evaluation.files import Run
from bge_cpu.evaluation.first_stage import Task
from bge_cpu.reranker import Reranker


@dataclass(frozen=True)
class Reranked:
    """A run and its cost.

    Attributes:
        run: The candidates by falling logit, ties in the first stage's order.
        seconds: Time per query, the mean.
        pairs: How many pairs were scored.
        truncated_pairs: How many of them were cut to max_length.
    """

    run: Run
    seconds: float
    pairs: int
    truncated_pairs: int


def rerank(reranker: Reranker, task: Task, *, progress: Callable[[int, int], None] | None = None) -> Reranked:
    """Rank the candidates of each query, one query after the other.

    Args:
        reranker: What ranks them.
        task: Queries and candidates.
        progress: Told after each query how many are done, and of how many.
    """
    run: Run = {}
    seconds, truncated = 0.0, 0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "cut to max_length", UserWarning)  # told once, by the result
        for done, (query, found) in enumerate(task.run.items(), 1):
            ids = [document for document, _ in found]
            texts = [task.documents[document] for document in ids]
            started = time.perf_counter()
            ranking = reranker.rank(task.queries[query], texts, normalize=None)
            seconds += time.perf_counter() - started
            truncated += sum(item.truncated_tokens > 0 for item in ranking)
            run[query] = [(ids[item.index], item.score) for item in ranking]
            if progress is not None:
                progress(done, len(task.run))
    return Reranked(run=run, seconds=seconds / len(run), pairs=sum(map(len, run.values())), truncated_pairs=truncated)


def rerank_all(
    tasks: Sequence[Task],
    modes: Mapping[str, Callable[[], Reranker]],
    *,
    progress: Callable[[str, str, int, int], None] | None = None,
    done: Callable[[str, str, Reranked], None] | None = None,
) -> dict[str, dict[str, Reranked]]:
    """Rank every task's candidates in every mode; one mode is in memory at a time.

    Args:
        tasks: What to rank; each of another name.
        modes: What loads each mode, by its name.
        progress: Told after each query: mode, task's name, queries done, and of how many.
        done: Given each run when it is ready: mode, task's name, run.

    Returns:
        Task's name -> mode -> run.
    """
    runs: dict[str, dict[str, Reranked]] = {task.name: {} for task in tasks}
    for mode, load in modes.items():
        reranker = load()
        for task in tasks:
            tell = None if progress is None else partial(progress, mode, task.name)
            runs[task.name][mode] = rerank(reranker, task, progress=tell)
            if done is not None:
                done(mode, task.name, runs[task.name][mode])
        del reranker  # else it would stand beside the next one
    return runs


def write_trec(run: Run, file: Path, *, tag: str) -> None:
    """Write a run as trec_eval reads it: query, Q0, document, rank, score, tag.

    trec_eval goes by the score alone, in float32, and settles ties by id. To keep the order, a score that is not below
    the one before it is lowered to the next float32.

    Raises:
        InputError: An id has white space in it, which such a file cannot hold; or the file cannot be written.
    """
    rows = []
    for query, found in run.items():
        last = np.float32(np.inf)
        for rank, (document, score) in enumerate(found, 1):
            last = min(np.float32(score), np.nextafter(last, np.float32(-np.inf)))
            rows.append(f"{_id(query)} Q0 {_id(document)} {rank} {last} {tag}\n")
    try:
        file.write_text("".join(rows), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}") from error


def _id(key: str) -> str:
    """An id that a TREC run can hold.

    Raises:
        InputError: It has white space in it.
    """
    if len(key.split()) != 1 or key != key.strip():
        raise InputError(f"the id {key!r} has white space in it, which a TREC run cannot hold")
    return key
