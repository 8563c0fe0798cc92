"""The article's loop: padded batches of 8, in the given order."""

from collections.abc import Callable, Sequence
from typing import Any

from transformers import AutoTokenizer

from contest.child import Pair, Scorer

BATCH = 8


def scorer(checkpoint: str, tensors: str, run: Callable[[Any], list[float]]) -> Scorer:
    """Scores pairs with a model.

    Args:
        checkpoint: Whose tokenizer it takes.
        tensors: Of which kind: "pt" or "np".
        run: From a tokenised batch to its logits.
    """
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)

    def score(pairs: Sequence[Pair]) -> list[float]:
        scores: list[float] = []
        for start in range(0, len(pairs), BATCH):
            batch = list(pairs[start : start + BATCH])
            scores += run(tokenizer(batch, padding=True, truncation=True, max_length=512, return_tensors=tensors))
        return scores

    return score
