"""A cross-encoder's nDCG@10 over BM25's candidates, beside BM25's own; sets, candidates and measure are bge_cpu's."""

from collections.abc import Callable, Sequence
from pathlib import Path

from bge_cpu.evaluation import prepare, read
from bge_cpu.evaluation.files import Run
from bge_cpu.evaluation.measures import measure

Score = Callable[[Sequence[tuple[str, str]]], Sequence[float]]


class Judged:
    """A set of queries, documents and grades in the layout of `bge_cpu.evaluation`.

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
        self._task = prepare(read(folder, first_stage="bm25"), queries=queries, candidates=candidates)
        self._pairs = [
            (self._task.queries[query], self._task.documents[document])
            for query, found in self._task.run.items()
            for document, _ in found
        ]
        self.bm25 = self._mean(self._task.run)

    def ndcg(self, score: Score) -> float:
        """The mean nDCG@10 of the candidates in the order of their scores, highest first."""
        scores = iter(score(self._pairs))
        ranked: Run = {}
        for query, found in self._task.run.items():
            mine = [(document, next(scores)) for document, _ in found]
            ranked[query] = sorted(mine, key=lambda scored: -scored[1])
        return self._mean(ranked)

    def _mean(self, run: Run) -> float:
        return float(measure(self._task.grades, run, depth=self._task.candidates)["nDCG@10"].mean())
