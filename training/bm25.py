"""BM25 over words, Chinese ones as jieba cuts them: the score of every text, to mine and to teach with.

It is not `bge_cpu.evaluation.bm25`, which takes pairs of neighbouring characters for Chinese words: `mini` was taught
with these scores, and their weight in the teacher's (`mine.BM25_WEIGHT`) was chosen for them. The formula is the same.
"""

import logging
import re
from collections.abc import Sequence

import bm25s
import jieba
import numpy as np
from numpy.typing import NDArray

from bge_cpu.evaluation.bm25 import K1, B

_WORD = re.compile(r"[a-z0-9]+|[\u3400-\u9fff]+")

jieba.setLogLevel(logging.WARNING)


def words(text: str) -> list[str]:
    """A text's words in lower case; long Chinese ones also in parts.

    >>> words("GPU加速的计算机")
    ['gpu', '加速', '的', '计算', '算机', '计算机']
    """
    return [
        part
        for run in _WORD.findall(text.lower())
        for part in (jieba.cut_for_search(run) if ord(run[0]) >= 0x3400 else (run,))
    ]


class Index:
    """BM25 over some texts, with the parameters of `bge_cpu.evaluation`.

    Args:
        texts: The texts; at least one.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._size = len(texts)
        self._model = bm25s.BM25(k1=K1, b=B)
        self._model.index([words(text) for text in texts], show_progress=False)

    def scores(self, query: str) -> NDArray[np.float32]:
        """The BM25 score of every text, float32, (texts,)."""
        terms = [term for term in words(query) if term in self._model.vocab_dict]
        if not terms:
            return np.zeros(self._size, np.float32)
        scores: NDArray[np.float32] = self._model.get_scores(terms)
        return scores
