"""How modes are compared: pairs, their logits, and whether each is the same to the bit whatever runs beside it."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bge_cpu import Reranker
from tests import checkpoints

PAIRS = [("panda", checkpoints.text(length, seed=length)) for length in (1, 2, 3, 5, 9, 14, 20, 27, 33, 40, 50)]
"""Of as many lengths."""

MANY = [("panda", checkpoints.text(seed % 30 + 1, seed=seed)) for seed in range(100)]
"""Enough for a steady correlation."""


LogitsOf = Callable[[str], NDArray[np.float32]]
"""A mode -> its logits of some pairs, float32, (pairs,)."""


def logits(model: Path, mode: str, pairs: list[tuple[str, str]]) -> NDArray[np.float32]:
    """A mode's logits, without the gate, float32, (pairs,)."""
    return np.array(Reranker.load(model, mode=mode, min_fidelity=None).score(pairs), dtype=np.float32)


def check_equal_in_any_company(
    folder: Path, pairs: list[tuple[str, str]], *, mode: str = "onnx", min_fidelity: float | None = 0.98
) -> None:
    """Alone and together, in any order, from any number of threads, on any number of threads."""
    one = Reranker.load(folder, mode=mode, threads=1, min_fidelity=min_fidelity)
    alone = [one.score([pair])[0] for pair in pairs]
    for threads in (1, 2, 3, 4):
        reranker = Reranker.load(folder, mode=mode, threads=threads, min_fidelity=min_fidelity)
        assert [reranker.score([pair])[0] for pair in pairs] == alone
        assert reranker.score(pairs) == alone
        assert list(reranker.score_stream(iter(pairs))) == alone
        order = random.Random(threads).sample(range(len(pairs)), len(pairs))
        assert reranker.score([pairs[index] for index in order]) == [alone[index] for index in order]
        with ThreadPoolExecutor(8) as callers:
            calls = [callers.submit(reranker.score, pairs[index : index + 3]) for index in order]
            lone = [callers.submit(reranker.score, [pairs[index]]) for index in order]
        assert [call.result() for call in calls] == [alone[index : index + 3] for index in order]
        assert [call.result() for call in lone] == [[alone[index]] for index in order]
