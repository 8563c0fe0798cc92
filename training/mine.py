"""A query -> its list: a positive, negatives mined in several ways, and the teacher's score of each."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from training import bm25

DEPTH = 40  # negatives are drawn from the best so many of BM25 and of the bi-encoder
MIX = {"bm25": 5, "biencoder": 5, "given": 2, "random": 3}  # negatives per list
BM25_WEIGHT = 0.002  # cosine per unit of BM25: the best of 0..0.01 on stackfaq_en and xquad_en together
MARGIN = 0.02  # a candidate so far above the positive is an answer that no one has labelled
DUPLICATE = 0.97  # the cosine of two passages that say the same

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Query:
    """A question with the passages that are known to answer it, or an excerpt with the passage it stands in.

    Attributes:
        text: The query.
        lang: "en", "zh", "zh-Hant"; BM25's and the bi-encoder's negatives are of the same, random ones of any.
        source: The data set.
        positive: Whether `own` answer it; False for an excerpt.
        own: Passages, by number.
        given: Passages that the data set names as wrong, by number.
    """

    text: str
    lang: str
    source: str
    positive: bool
    own: frozenset[int]
    given: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class List:
    """One line of lists.jsonl: see the module."""

    query: str
    lang: str
    source: str
    positive: bool
    candidates: list[int]
    scores: list[float]


@dataclass
class Collection:
    """Passages, and the windows they were cut into.

    Attributes:
        windows: All windows, passage by passage.
        langs: The language of each.
        spans: Of each passage, by its number: where its windows begin and end.
        numbers: Passage -> its number.
    """

    windows: list[str] = field(default_factory=list)
    langs: list[str] = field(default_factory=list)
    spans: list[range] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)

    def add(self, passage: str, lang: str, cut: Callable[[str], list[str]]) -> int:
        """Add a passage, unless it is there already, and return its number."""
        if passage not in self.numbers:
            self.numbers[passage] = len(self.numbers)
            begin = len(self.windows)
            self.windows += cut(passage)
            self.langs += [lang] * (len(self.windows) - begin)
            self.spans.append(range(begin, len(self.windows)))
        return self.numbers[passage]

    def windows_of(self, passages: Iterable[int]) -> list[int]:
        """The windows of some passages, by number."""
        return [window for passage in sorted(passages) for window in self.spans[passage]]


class Miner:
    """Draws the candidates of a query.

    Args:
        collection: What to draw from.
        vectors: The windows' embeddings, (windows, hidden).
        rng: Draws.
    """

    def __init__(self, collection: Collection, vectors: Array, rng: random.Random) -> None:
        self._collection, self._vectors, self._rng = collection, vectors, rng
        langs = np.array(collection.langs)
        self._of_lang = {lang: np.flatnonzero(langs == lang) for lang in sorted(set(collection.langs))}
        self._index = {
            lang: bm25.Index([collection.windows[index] for index in track(of_lang, description=f"BM25 {lang}")])
            for lang, of_lang in self._of_lang.items()
        }

    def draw(self, query: Query, cosines: Array) -> List:
        """The positive, if there is one, then negatives in random order, all with the teacher's scores.

        Args:
            query: The query.
            cosines: Its cosine with every window, (windows,).
        """
        of_lang = self._of_lang[query.lang]
        by_words = self._index[query.lang].scores(query.text)
        scores = cosines.copy()
        scores[of_lang] += BM25_WEIGHT * by_words
        own = self._collection.windows_of(query.own)
        best = max(own, key=lambda window: scores[window])
        pools: dict[str, Iterable[int]] = {
            "bm25": of_lang[_top(by_words)],
            "biencoder": of_lang[_top(cosines[of_lang])],
            "given": self._collection.windows_of(query.given),
            "random": self._rng.sample(range(len(scores)), min(DEPTH, len(scores))),
        }
        barred, negatives = set(own), list[int]()
        for name, count in MIX.items():
            pool = [int(index) for index in pools[name] if index not in barred]
            if query.positive:
                same = self._vectors[pool] @ self._vectors[best] > DUPLICATE
                better = scores[pool] > scores[best] + MARGIN
                pool = [index for index, wrong in zip(pool, ~same & ~better, strict=True) if wrong]
            drawn = self._rng.sample(pool, min(count, len(pool)))
            barred.update(drawn)
            negatives += drawn
        self._rng.shuffle(negatives)
        candidates = [best, *negatives] if query.positive else negatives
        teacher = [round(float(scores[index]), 5) for index in candidates]
        return List(query.text, query.lang, query.source, query.positive, candidates, teacher)


def _top(scores: Array) -> NDArray[np.int64]:
    """The places of the DEPTH highest scores, in ascending order."""
    if len(scores) <= DEPTH:
        return np.arange(len(scores))
    return np.sort(np.argpartition(-scores, DEPTH)[:DEPTH])
