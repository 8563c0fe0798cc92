"""How far a mode strays from a reference mode on the same queries and documents, and what it was measured on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bge_cpu.errors import InputError
from bge_cpu.evaluation.collection import Collection
from bge_cpu.evaluation.files import Candidates, Run, read_plain
from bge_cpu.quantization.fidelity import spearman
from bge_cpu.quantization.probe import PAIRS
from bge_cpu.ranking import sigmoid

TOPS = (3, 10)
PROBE = "the built-in probe"
EMPTY_LINES = "empty lines (passed over)"
"""The note of a collection that counts them."""


@dataclass(frozen=True)
class Agreement:
    """Two modes' logits of the same pairs, compared.

    Attributes:
        queries: How many.
        pairs: How many, over all queries.
        spearman: Rank correlation of the logits of all pairs, -1..1; nan where a mode gives all the same.
        overlap: n -> which share of a query's best n both modes have among their best n, the mean over the queries
            with more than n documents; None where no query has as many.
        first_changed: How many queries have another document in the first place.
        largest_logit: The largest shift of a logit.
        mean_logit: The mean shift.
        largest_score: The largest shift of a score, the logit's sigmoid.
        mean_score: The mean shift.
    """

    queries: int
    pairs: int
    spearman: float
    overlap: dict[int, float | None]
    first_changed: int
    largest_logit: float
    mean_logit: float
    largest_score: float
    mean_score: float


def agreement(reference: Run, other: Run) -> Agreement:
    """Compare two runs over the same documents of the same queries, at least one, with logits as scores."""
    expected, found = _logits(reference, reference), _logits(other, reference)
    scores = [np.array([sigmoid(logit) for logit in logits.tolist()]) for logits in (expected, found)]
    logit_shifts, score_shifts = np.abs(found.astype(np.float64) - expected), np.abs(scores[1] - scores[0])
    return Agreement(
        queries=len(reference),
        pairs=len(expected),
        spearman=spearman(expected, found),
        overlap={top: _overlap(reference, other, top) for top in TOPS},
        first_changed=sum(reference[query][0][0] != other[query][0][0] for query in reference),
        largest_logit=float(logit_shifts.max()),
        mean_logit=float(logit_shifts.mean()),
        largest_score=float(score_shifts.max()),
        mean_score=float(score_shifts.mean()),
    )


def probe() -> Collection:
    """The built-in probe of the INT8 gate: 16 queries in Chinese and English, with four documents each."""
    documents = {str(index): document for index, (_, document) in enumerate(PAIRS)}
    groups = [list(group) for _, group in groupby(enumerate(PAIRS), key=lambda item: item[1][0])]
    queries = {str(number): group[0][1][0] for number, group in enumerate(groups)}
    ranking: Run = {str(number): [(str(index), 0.0) for index, _ in group] for number, group in enumerate(groups)}
    return Collection(PROBE, documents, queries, ranking=ranking, first_stage="probe")


def from_files(queries: Path, documents: Path) -> Collection:
    """Queries and documents from two files, one per line, or from .jsonl files the `text` of each object.

    Raises:
        InputError: A file cannot be read, holds no text, or has a wrong line.
    """
    (asked, empty), (given, more) = map(read_plain, (queries, documents))
    asked, given = ({key: text for key, text in texts.items() if text} for texts in (asked, given))
    for file, texts in ((queries, asked), (documents, given)):
        if not texts:
            raise InputError(f"{file} holds no text")
    return Collection(f"{queries.name} and {documents.name}", given, asked, notes={EMPTY_LINES: empty + more})


def all_if_few(collection: Collection, candidates: int) -> Collection:
    """Where BM25 would have to choose from no more than `candidates` documents, let each query have them all."""
    if collection.ranking is not None or len(collection.documents) > candidates:
        return collection
    everything: Candidates = [(key, 0.0) for key in collection.documents]
    return replace(collection, ranking=dict.fromkeys(collection.queries, everything), first_stage="all documents")


def _logits(run: Run, order: Mapping[str, Sequence[tuple[str, float]]]) -> NDArray[np.float32]:
    """A run's logits, with queries and documents in the order of another."""
    by_id = {query: dict(found) for query, found in run.items()}
    return np.array([by_id[query][document] for query, found in order.items() for document, _ in found], np.float32)


def _overlap(reference: Run, other: Run, top: int) -> float | None:
    shares = [
        len({document for document, _ in reference[query][:top]} & {document for document, _ in other[query][:top]})
        / top
        for query in reference
        if len(reference[query]) > top
    ]
    return sum(shares) / len(shares) if shares else None
