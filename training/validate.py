"""A cross-encoder's nDCG@10 over BM25's candidates, beside BM25's own."""

import gzip
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bge_cpu.evaluation.bm25 import Bm25

Score = Callable[[Sequence[tuple[str, str]]], Sequence[float]]


class Judged:
    """An evaluation folder: corpus.jsonl.gz, queries.jsonl, qrels.tsv.

    Attributes:
        name: The folder's name.
        bm25: The nDCG@10 of BM25's own order.

    Args:
        folder: The folder.
        queries: How many queries to use, spread evenly over the file.
        candidates: How many of BM25's best to rerank.
    """

    def __init__(self, folder: Path, queries: int, candidates: int) -> None:
        self.name = folder.name
        with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as stream:
            corpus = {record["id"]: record["text"] for record in map(json.loads, stream)}
        gains: dict[str, dict[str, int]] = {}
        for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines():
            query, document, gain = line.split("\t")[:3]
            if gain.isdigit() and int(gain) > 0:  # the first line may be a header
                gains.setdefault(query, {})[document] = int(gain)
        with (folder / "queries.jsonl").open(encoding="utf-8") as stream:
            judged = [record for record in map(json.loads, stream) if record["id"] in gains]
        count = min(queries, len(judged))
        chosen = [judged[place * len(judged) // count] for place in range(count)]
        ids = list(corpus)
        index = Bm25(list(corpus.values()))
        self._gains = [gains[record["id"]] for record in chosen]
        self._candidates = [[ids[place] for place, _ in index.search(record["text"], candidates)] for record in chosen]
        self._pairs = [
            (record["text"], corpus[document])
            for record, documents in zip(chosen, self._candidates, strict=True)
            for document in documents
        ]
        self.bm25 = self._mean(self._candidates)

    def ndcg(self, score: Score) -> float:
        """The mean nDCG@10 of the candidates in the order of their scores, highest first."""
        scores = iter(score(self._pairs))
        ranked = []
        for documents in self._candidates:
            mine = {document: next(scores) for document in documents}
            ranked.append(sorted(mine, key=lambda document: -mine[document]))
        return self._mean(ranked)

    def _mean(self, rankings: Sequence[Sequence[str]]) -> float:
        values = [ndcg(ranking, gains) for ranking, gains in zip(rankings, self._gains, strict=True)]
        return math.fsum(values) / max(1, len(values))


def ndcg(ranking: Sequence[str], gains: Mapping[str, int], depth: int = 10) -> float:
    """The gain of a ranking's first `depth` documents, each divided by log2(1 + rank), over the highest possible.

    >>> ndcg(["b", "a"], {"a": 1})
    0.6309297535714575
    """
    gained = math.fsum(gains.get(document, 0) / math.log2(rank + 1) for rank, document in enumerate(ranking[:depth], 1))
    most = sorted(gains.values(), reverse=True)[:depth]
    return gained / math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(most, 1))
