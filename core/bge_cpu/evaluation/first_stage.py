"""Which queries are evaluated, and which candidates each gives the reranker: a first stage's best."""

import importlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Collection as Items
from dataclasses import dataclass
from types import ModuleType

from bge_cpu import extras
from bge_cpu.errors import InputError
from bge_cpu.evaluation.collection import Collection
from bge_cpu.evaluation.files import Candidates, Grades, Run
from bge_cpu.inputs import check_count


@dataclass(frozen=True)
class Task:
    """Candidates to rank.

    Attributes:
        name: The collection's name.
        documents: Texts by id.
        queries: The texts of the queries that take part, by id.
        grades: Their documents' relevance; a document that is not in it is not relevant.
        first_stage: What the first stage is called.
        run: Its best candidates, the best first.
        seconds: What finding them took per query; None where they were read from a file.
        candidates: How many a query has at most.
        size: How many queries the collection holds.
        notes: How many of what were left out, or count as not found.
    """

    name: str
    documents: Mapping[str, str]
    queries: Mapping[str, str]
    grades: Grades
    first_stage: str
    run: Run
    seconds: float | None
    candidates: int
    size: int
    notes: Mapping[str, int]


def prepare(collection: Collection, *, queries: int | None = None, candidates: int = 100) -> Task:
    """Choose the queries and find their candidates.

    Left out are queries without a text, without a relevant document (where there are grades), or that a file of
    candidates does not name. A judged query whose relevant documents are not found stays, and counts as 0.

    Args:
        collection: Where they are from.
        queries: How many to use at most, evenly spread over the file; None means all.
        candidates: How many a query has at most.

    Raises:
        InputError: No query is left, or an option is of the wrong type or value.
        MissingDependencyError: BM25 is asked for, and bm25s is not installed.
    """
    if queries is not None:
        check_count(queries, "queries")
    check_count(candidates, "candidates")
    notes, usable = Counter(collection.notes), []
    for query, text in collection.queries.items():
        grades = _grades(collection, query)
        if not text:
            notes["queries without text (left out)"] += 1
        elif grades is not None and not any(grade > 0 for grade in grades.values()):
            notes["queries without a relevant document (left out)"] += 1
        elif collection.ranking is not None and query not in collection.ranking:
            notes["queries without a candidate (left out)"] += 1
        else:
            usable.append(query)
    run, seconds = _candidates(collection, spread(usable, queries), candidates, notes)
    judged_by_bm25 = collection.grades is not None and collection.ranking is None
    chosen = run if judged_by_bm25 else {query: found for query, found in run.items() if found}
    notes["queries without a candidate (left out)"] += len(run) - len(chosen)
    judged = {query: _grades(collection, query) or {} for query in chosen}
    if collection.grades is not None:
        notes["queries without a relevant candidate (they stay, and count as 0)"] = sum(
            all(judged[query].get(document, 0) <= 0 for document, _ in found) for query, found in chosen.items()
        )
    if not any(chosen.values()):
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in notes.items() if count)
        raise InputError(f"{collection.name} has no query to evaluate: {reasons}")
    return Task(
        name=collection.name,
        documents=collection.documents,
        queries={query: collection.queries[query] for query in chosen},
        grades=judged,
        first_stage=collection.first_stage,
        run=chosen,
        seconds=seconds / len(run) if collection.ranking is None else None,
        candidates=candidates,
        size=len(collection.queries),
        notes={reason: count for reason, count in notes.items() if count},
    )


def spread(items: Sequence[str], count: int | None) -> list[str]:
    """At most `count` items, evenly spread, in their order.

    >>> spread(["a", "b", "c", "d", "e"], 2)
    ['a', 'c']
    """
    count = len(items) if count is None else min(count, len(items))
    return [items[place * len(items) // count] for place in range(count)]


def needs_extra(module: str) -> ModuleType:
    """Import a module of ours whose packages only the extra `evaluation` brings.

    Raises:
        MissingDependencyError: One of them is not installed.
    """
    with extras.needed("evaluation", "evaluation"):
        return importlib.import_module(module)


def _grades(collection: Collection, query: str) -> dict[str, int] | None:
    """A query's grades, without those of excluded documents; None where nothing is judged."""
    if collection.grades is None:
        return None
    excluded: Items[str] = collection.excluded.get(query, ())
    grades = collection.grades.get(query, {})
    return {document: grade for document, grade in grades.items() if document not in excluded}


def _candidates(collection: Collection, queries: Sequence[str], count: int, notes: Counter[str]) -> tuple[Run, float]:
    """The best of the first stage for each query, and the seconds they took; in `notes` what was passed over."""
    find = _bm25(collection) if collection.ranking is None else _ranking(collection.ranking)
    chosen: Run = {}
    started = time.perf_counter()
    for query in queries:
        excluded: Items[str] = collection.excluded.get(query, ())
        found = find(query, collection.queries[query], count + len(excluded))
        known = [(document, score) for document, score in found if document in collection.documents]
        kept = [(document, score) for document, score in known if document not in excluded]
        notes["candidates that are not in the corpus (left out)"] += len(found) - len(known)
        notes["candidates that the set excludes (left out)"] += len(known) - len(kept)
        chosen[query] = kept[:count]
    return chosen, time.perf_counter() - started


def _bm25(collection: Collection) -> Callable[[str, str, int], Candidates]:
    """BM25's best documents for a query, its text given, as many as are asked for."""
    bm25 = importlib.import_module("bge_cpu.evaluation.bm25")
    ids, texts = list(collection.documents), list(collection.documents.values())
    if not any(term for text in texts for term in bm25.terms(text)):  # nothing that an index could hold
        return lambda query, text, count: []
    index = bm25.Bm25(texts)
    return lambda query, text, count: [(ids[place], score) for place, score in index.search(text, count)]


def _ranking(run: Run) -> Callable[[str, str, int], Candidates]:
    """A query's candidates as they were read: all of them, since the caller leaves out some and counts them."""
    return lambda query, text, count: run.get(query, [])
