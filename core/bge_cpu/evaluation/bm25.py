"""BM25, the baseline of `evaluate` and the first stage of the examples; words, and character bigrams for Chinese."""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from bge_cpu import extras
from bge_cpu.errors import InputError

with extras.needed("evaluation", "evaluation"):  # here, since examples import this module directly
    import bm25s

K1, B = 0.9, 0.4  # the parameters usual for passages: Anserini's, and BEIR's baseline
_HAN = r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003134f]"
_RUNS = re.compile(rf"({_HAN}+)|((?:(?!{_HAN})[^\W_])+)")


class Bm25:
    """An index over texts.

    Args:
        texts: What is searched.

    Raises:
        InputError: No text has a word.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        tokens = [list(terms(text)) for text in texts]
        if not any(tokens):
            raise InputError("there is nothing to search: no text has a word")
        self._index = bm25s.BM25(k1=K1, b=B)
        self._index.index(tokens, show_progress=False)

    def search(self, query: str, count: int) -> list[tuple[int, float]]:
        """The `count` best texts as (index, score), best first, ties in their order; only texts that share a term."""
        known = [term for term in terms(query) if term in self._index.vocab_dict]
        if not known:
            return []
        scores = self._index.get_scores(known)
        best = np.argsort(-scores, kind="stable")[:count]
        return [(int(index), float(scores[index])) for index in best if scores[index] > 0]


def terms(text: str) -> Iterator[str]:
    """The terms of a text: lower-cased words and numbers; of a run of Chinese characters its bigrams.

    >>> list(terms("GPT-4 读长文"))
    ['gpt', '4', '读长', '长文']
    """
    for characters, word in _RUNS.findall(text.lower()):
        if len(characters) > 1:
            yield from (characters[start : start + 2] for start in range(len(characters) - 1))
        else:
            yield characters or word
