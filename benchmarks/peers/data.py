"""The evaluation sets of ../shared/data: texts, grades, BM25's candidates, and nDCG@10 as trec_eval computes it."""

import gzip
import json
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from peers.child import Pair

Run = dict[str, list[str]]  # query id -> ids of its candidates, best first

DATA = Path(__file__).resolve().parents[3] / "shared/data/eval"
RELEVANT = {"trec_dl19": 2, "stard_zh": 1, "xquad_zh": 1, "xquad_en": 1, "cranfield": 1}  # the least grade
PAIRS_PER_SET, TOP, QUERIES, CUTOFF = 200, 30, 200, 10
K1, B = 0.9, 0.4


class Bm25:
    """Lucene's BM25 over words, or over character bigrams where the text is Chinese."""

    def __init__(self, documents: dict[str, str]) -> None:
        self._ids = list(documents)
        counts = [Counter(terms(text)) for text in documents.values()]
        lengths = np.array([count.total() for count in counts])
        norms = K1 * (1 - B + B * lengths / lengths.mean())
        self._postings: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for index, count in enumerate(counts):
            for term, times in count.items():
                self._postings[term].append((index, times / (times + norms[index])))

    def best(self, query: str) -> list[str]:
        """The ids of the documents that share a term with the query, best first, ties in the corpus's order."""
        scores = np.zeros(len(self._ids))
        for term in terms(query):
            found = self._postings.get(term, [])
            idf = math.log(1 + (len(self._ids) - len(found) + 0.5) / (len(found) + 0.5))
            for index, weight in found:
                scores[index] += idf * weight
        return [self._ids[index] for index in np.argsort(-scores, kind="stable") if scores[index] > 0]


class Collection:
    """An evaluation set: texts by id, and grades by query and document; a document without a grade has 0."""

    def __init__(self, name: str) -> None:
        self.name, self.grades = name, defaultdict[str, dict[str, int]](dict)
        with gzip.open(DATA / name / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
            self.documents = {row["id"]: row["text"] for row in map(json.loads, lines) if row["text"] != "(empty)"}
        with (DATA / name / "queries.jsonl").open(encoding="utf-8") as lines:
            self.queries = {row["id"]: row["text"] for row in map(json.loads, lines)}
        for query, document, grade in rows(DATA / name / "qrels.tsv"):
            self.grades[query][document] = int(grade)
        for query, document in rows(DATA / name / "minus1.tsv"):  # neither relevant nor not
            self.grades[query][document] = -1

    @cached_property
    def best(self) -> Callable[[str], list[str]]:
        """From a query's text to BM25's ranking."""
        return Bm25(self.documents).best

    def run(self) -> Run:
        """The candidates that are reranked: the set's own, or BM25's top for the first queries."""
        run: Run = defaultdict(list)
        for query, document, _, _ in rows(DATA / self.name / "candidates.tsv"):
            run[query].append(document)
        return run or {query: self.best(self.queries[query])[:TOP] for query in list(self.queries)[:QUERIES]}

    def sample(self) -> list[Pair]:
        """Relevant pairs, and as many others of the same queries, by turns from anywhere and from BM25's best."""
        rng, least = random.Random(self.name), RELEVANT[self.name]
        graded = [(query, key, grade) for query in self.queries for key, grade in self.grades[query].items()]
        relevant = {self.pair(q, key): q for q, key, grade in graded if grade >= least and key in self.documents}
        drawn = rng.sample(list(relevant), PAIRS_PER_SET // 2)
        for number, query in enumerate([relevant[pair] for pair in drawn]):
            source = self.best(self.queries[query]) if number % 2 else self.documents
            others = [self.pair(query, document) for document in source if not self.grades[query].get(document)]
            others = [pair for pair in others if pair not in relevant and pair not in drawn]
            drawn.append(rng.choice(others[:TOP] if number % 2 else others))
        return drawn

    def pair(self, query: str, document: str) -> Pair:
        """The texts of a query and a document."""
        return self.queries[query], self.documents[document]

    def ndcg(self, run: Run, logits: dict[Pair, float] | None = None) -> NDArray[np.float64]:
        """nDCG@10 of each query that has a relevant document, its candidates reranked by falling logit, if given."""
        values: list[float] = []
        for query, found in run.items():
            keys = [-logits[self.pair(query, document)] if logits else 0 for document in found]
            gains = [self.grades[query].get(found[at], 0) for at in np.argsort(keys, kind="stable")]
            ideal = dcg(sorted(self.grades[query].values(), reverse=True))
            values += [dcg(gains) / ideal] if ideal else []
        return np.array(values)


def dcg(grades: Sequence[int]) -> float:
    """The gain of a ranking's first ten: the grades, divided by log2 of 1 + rank."""
    return sum(max(grade, 0) / math.log2(rank + 2) for rank, grade in enumerate(grades[:CUTOFF]))


def rows(file: Path) -> list[list[str]]:
    """The rows of a tab-separated file, without its header; none if there is no file."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [line.split("\t") for line in lines[1:]]


def terms(text: str) -> list[str]:
    """Lower-case words, and the bigrams of Chinese characters."""
    found = re.findall(r"(?=([\u4e00-\u9fff]{2}))|([^\W\u4e00-\u9fff]+)", text.lower())
    return [bigram or word for bigram, word in found]
