"""Modes over tasks: each ranks every task's candidates, then all are measured and compared query by query."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bge_cpu.errors import InputError
from bge_cpu.evaluation.bootstrap import Interval, interval
from bge_cpu.evaluation.first_stage import Task, needs_extra
from bge_cpu.evaluation.reranking import Reranked, rerank_all
from bge_cpu.inputs import check_count
from bge_cpu.reranker import Reranker

Values = Mapping[str, NDArray[np.float64]]  # measure -> a value per query


@dataclass(frozen=True)
class System:
    """One row: the first stage, or a mode.

    Attributes:
        name: The first stage's name, or the mode.
        measures: Each measure's mean over the queries, with its interval.
        against: Other system -> measure -> this one's mean difference to it, with its paired interval.
        seconds_per_query: The mean; None where it was not measured.
        pairs: How many pairs it scored.
        pairs_cut: How many of them were cut to max_length.
    """

    name: str
    measures: dict[str, Interval]
    against: dict[str, dict[str, Interval]]
    seconds_per_query: float | None
    pairs: int = 0
    pairs_cut: int = 0


@dataclass(frozen=True)
class Report:
    """What was found on one task.

    Attributes:
        name: The collection's name.
        queries: How many took part.
        size: How many the collection holds.
        documents: How many texts are searched.
        first_stage: Whose candidates were ranked.
        candidates: How many a query has at most.
        notes: How many of what were left out, or count as not found.
        systems: The first stage, then the modes.
    """

    name: str
    queries: int
    size: int
    documents: int
    first_stage: str
    candidates: int
    notes: dict[str, int]
    systems: list[System]


def evaluate(
    tasks: Sequence[Task],
    modes: Mapping[str, Callable[[], Reranker]],
    *,
    min_grade: int = 1,
    progress: Callable[[str, str, int, int], None] | None = None,
    done: Callable[[str, str, Reranked], None] | None = None,
) -> list[Report]:
    """Evaluate modes over tasks; one mode is in memory at a time.

    Example:
        >>> from bge_cpu import Reranker
        >>> from bge_cpu.evaluation import evaluate, prepare, read
        >>> modes = {mode: lambda mode=mode: Reranker.load("mini", mode=mode) for mode in ("onnx", "onnx-int8")}
        >>> evaluate([prepare(read("scifact"), queries=100, candidates=50)], modes)

    Args:
        tasks: What to rank.
        modes: What loads each mode, by its name; the first is the one that the others are held to.
        min_grade: From which grade on a document is relevant to MRR, P and Recall.
        progress: Told after each query: mode, task's name, queries done, and of how many.
        done: Given each run when it is ready: mode, task's name, run.

    Raises:
        InputError: Two tasks or systems share a name, a task has no grades, or an option is of the wrong type or value.
        MissingDependencyError: ir-measures is not installed.
    """
    check_count(min_grade, "min_grade")
    _check_names([task.name for task in tasks])
    for task in tasks:
        _check_names([task.first_stage, *modes])
        if not any(task.grades.values()):
            raise InputError(f"{task.name} has no grades of relevance to measure by")
    measure = needs_extra("bge_cpu.evaluation.measures").measure  # if it is missing, say so now
    runs = rerank_all(tasks, modes, progress=progress, done=done)
    reports = []
    for task in tasks:
        found = {mode: reranked.run for mode, reranked in runs[task.name].items()}
        values = {
            name: measure(task.grades, run, depth=task.candidates, min_grade=min_grade)
            for name, run in ({task.first_stage: task.run} | found).items()
        }
        reports.append(_report(task, runs[task.name], values, min_grade))
    return reports


def compare(values: Values, others: Values) -> dict[str, Interval]:
    """The mean difference of each measure, with its paired bootstrap interval."""
    return {name: interval(values[name] - others[name]) for name in values}


def _report(task: Task, runs: Mapping[str, Reranked], values: Mapping[str, Values], min_grade: int) -> Report:
    low = sum(max(task.grades[query].values()) < min_grade for query in task.queries)
    notes = {f"queries without a document of grade {min_grade} (0 in MRR, P and Recall)": low} if low else {}
    first, *modes = values
    means = {name: {key: interval(each) for key, each in found.items()} for name, found in values.items()}
    systems = [System(name=first, measures=means[first], against={}, seconds_per_query=task.seconds)]
    for mode in modes:
        others = [first] if mode == modes[0] else [first, modes[0]]
        systems.append(
            System(
                name=mode,
                measures=means[mode],
                against={other: compare(values[mode], values[other]) for other in others},
                seconds_per_query=runs[mode].seconds,
                pairs=runs[mode].pairs,
                pairs_cut=runs[mode].truncated_pairs,
            )
        )
    return Report(
        name=task.name,
        queries=len(task.queries),
        size=task.size,
        documents=len(task.documents),
        first_stage=task.first_stage,
        candidates=task.candidates,
        notes=dict(task.notes) | notes,
        systems=systems,
    )


def _check_names(names: Sequence[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two of {', '.join(names)} are called {twice!r}: each needs a name of its own")
