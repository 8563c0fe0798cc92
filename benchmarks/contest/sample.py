"""What fidelity is measured on: 1,000 pairs of five sets, and the candidates of one of them."""

from collections.abc import Mapping

import numpy as np

from bge_cpu.quantization.fidelity import spearman
from contest.child import Pair
from contest.data import RELEVANT, Collection

RERANKED = "trec_dl19"


class Sample:
    """Pairs to score, and how logits of theirs compare.

    Attributes:
        pairs: Without repetition.
    """

    def __init__(self) -> None:
        collections = {name: Collection(name) for name in RELEVANT}
        self._sample = [pair for collection in collections.values() for pair in collection.sample()]
        self._reranked = collections[RERANKED]
        self._run = self._reranked.run()
        candidates = [self._reranked.pair(query, key) for query, found in self._run.items() for key in found]
        self.pairs = list(dict.fromkeys(self._sample + candidates))

    def compare(self, reference: Mapping[Pair, float], logits: Mapping[Pair, float]) -> dict[str, float]:
        """Spearman correlation with reference logits over the sample, and nDCG@10 over the candidates."""
        one, other = (np.array([found[pair] for pair in self._sample], np.float32) for found in (reference, logits))
        return {"spearman": spearman(one, other), "ndcg": float(self._reranked.ndcg(self._run, logits).mean())}
