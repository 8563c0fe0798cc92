"""Engines and a tokenizer for tests that need no model: an engine is anything with the method `logits`.

    >>> [item.index for item in reranker(LengthEngine()).rank("a", ["b", "b c d"])]
    [1, 0]

The tokenizer is a real one, of the tiny XLM-RoBERTa checkpoint, whose vocabulary is learnt on the spot.
"""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError

import numpy as np
from numpy.typing import NDArray

from bge_cpu import Reranker
from bge_cpu.engines import Cancelled, Engine, TokenizedPair
from bge_cpu.tokenizer import PairTokenizer
from tests import checkpoints

Logits = NDArray[np.float32]


class LengthEngine:
    """Logit = the pair's tokens, less 10, plus `more`; remembers how many pairs it was given at once.

    Args:
        more: What is added to each logit; with 100, all their sigmoids are 1.
    """

    def __init__(self, more: float = 0.0) -> None:
        self.more = more
        self.calls: list[int] = []

    def logits(self, pairs: Sequence[TokenizedPair], *, cancelled: Cancelled = None) -> Logits:
        """The longer, the higher."""
        self.calls.append(len(pairs))
        return np.array([len(pair) - 10 + self.more for pair in pairs], dtype=np.float32)


class ConstantEngine:
    """The same logit for every pair, but for some.

    Args:
        logit: The logit of every pair.
        others: The logits of the pairs at these places of a call.
    """

    def __init__(self, logit: float, others: dict[int, float] | None = None) -> None:
        self.logit = logit
        self.others = others or {}

    def logits(self, pairs: Sequence[TokenizedPair], *, cancelled: Cancelled = None) -> Logits:
        """One like the other."""
        return np.array([self.others.get(place, self.logit) for place in range(len(pairs))], dtype=np.float32)


class DistinctEngine:
    """Logit = how many different tokens the pair has, times a factor."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def logits(self, pairs: Sequence[TokenizedPair], *, cancelled: Cancelled = None) -> Logits:
        """The more varied, the higher."""
        return np.array([self.factor * len(np.unique(pair.ids)) for pair in pairs], dtype=np.float32)


class SlowEngine:
    """Logit 0, a hundredth of a second per pair; it counts the pairs, and stops when it is told to.

    Attributes:
        done: How many pairs were run.
        started: Set once the first one is.
    """

    def __init__(self) -> None:
        self.done = 0
        self.started = threading.Event()

    def logits(self, pairs: Sequence[TokenizedPair], *, cancelled: Cancelled = None) -> Logits:
        """Asks before each pair whether it is cancelled, as real engines do before each run."""
        for pair in pairs:
            if cancelled and cancelled():
                raise CancelledError("the call was cancelled")
            assert len(pair)
            self.done += 1
            self.started.set()
            time.sleep(0.01)
        return np.zeros(len(pairs), dtype=np.float32)


def tokenizer(max_length: int = 512) -> PairTokenizer:
    """A small real tokenizer, with XLM-RoBERTa's pair format."""
    return PairTokenizer(checkpoints.tokenizer("xlm-roberta"), max_length)


def reranker(engine: Engine | None = None, *, max_length: int = 512) -> Reranker:
    """A reranker over a fake engine; without one, over a new `LengthEngine`."""
    return Reranker(tokenizer(max_length), engine or LengthEngine())
