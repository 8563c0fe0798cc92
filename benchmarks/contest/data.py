"""The evaluation sets of ../shared/data: their texts and grades, pairs to score, candidates to rerank, and nDCG@10.

Reading, BM25 and the measure are those of `bge_cpu.evaluation`.
"""

import random
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bge_cpu.evaluation import read
from bge_cpu.evaluation.bm25 import Bm25
from bge_cpu.evaluation.measures import measure
from contest.child import Pair

Run = dict[str, list[str]]  # query id -> ids of its candidates, best first

DATA = Path(__file__).resolve().parents[3] / "shared/data/eval"
RELEVANT = {"trec_dl19": 2, "stard_zh": 1, "xquad_zh": 1, "xquad_en": 1, "cranfield": 1}  # the least grade
PAIRS_PER_SET, TOP, QUERIES = 200, 30, 200


class Collection:
    """An evaluation set: texts by id, and grades by query and document; a document without a grade has 0."""

    def __init__(self, name: str) -> None:
        found = read(DATA / name)
        self.name, self.documents, self.queries = name, found.documents, found.queries
        self.grades = {query: (found.grades or {}).get(query, {}) for query in found.queries}
        self._excluded = found.excluded
        self._ranking = found.ranking
        self._ids = list(found.documents)

    @cached_property
    def _bm25(self) -> Bm25:
        return Bm25(list(self.documents.values()))

    def best(self, query: str) -> list[str]:
        """BM25's ranking of the documents that share a term with a query, best first; the query is given by its id."""
        return [self._ids[place] for place, _ in self._bm25.search(self.queries[query], len(self._ids))]

    def run(self) -> Run:
        """The candidates that are reranked: the set's own, or BM25's top for the first queries."""
        if self._ranking is not None:
            return {query: [document for document, _ in found] for query, found in self._ranking.items()}
        return {query: self.best(query)[:TOP] for query in list(self.queries)[:QUERIES]}

    def sample(self) -> list[Pair]:
        """Relevant pairs, and as many others of the same queries, by turns from anywhere and from BM25's best."""
        rng, least = random.Random(self.name), RELEVANT[self.name]
        graded = [(query, key, grade) for query in self.queries for key, grade in self.grades[query].items()]
        relevant = {self.pair(q, key): q for q, key, grade in graded if grade >= least and key in self.documents}
        drawn = rng.sample(list(relevant), PAIRS_PER_SET // 2)
        for number, query in enumerate([relevant[pair] for pair in drawn]):
            source: Sequence[str] = self.best(query) if number % 2 else self._ids
            judged = {key for key, grade in self.grades[query].items() if grade} | self._excluded.get(query, set())
            others = [self.pair(query, document) for document in source if document not in judged]
            others = [pair for pair in others if pair not in relevant and pair not in drawn]
            drawn.append(rng.choice(others[:TOP] if number % 2 else others))
        return drawn

    def pair(self, query: str, document: str) -> Pair:
        """The texts of a query and a document."""
        return self.queries[query], self.documents[document]

    def ndcg(self, run: Run, logits: Mapping[Pair, float] | None = None) -> NDArray[np.float64]:
        """nDCG@10 of each query that has a relevant document, its candidates reranked by falling logit, if given."""
        ranked = {}
        for query, found in run.items():
            scored = [(key, logits[self.pair(query, key)] if logits else 0.0) for key in found]
            if any(grade > 0 for grade in self.grades[query].values()):
                ranked[query] = sorted(scored, key=lambda item: -item[1])
        return measure(self.grades, ranked, depth=TOP)["nDCG@10"]
