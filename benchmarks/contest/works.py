"""The work sets: which pairs are scored, and in which calls."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from tokenizers import Tokenizer

from bge_cpu.quantization.probe import PAIRS
from contest.child import Pair
from contest.data import DATA, RELEVANT, Collection

WORKS = {  # in the order in which they are run: a lone pair may take memory for good
    "a": "32 real passages for one query",
    "b": "100 short pairs, English and Chinese",
    "c": "8 long pairs",
    "e": "20 queries with 20 candidates each, English and Chinese, a call for each query",
    "d": "one pair, 5 times",
    "f": "the 64 pairs of the built-in probe, English and Chinese",
}
BUILT_IN = "f"  # needs no texts but the package's
PASSAGES, SHORTEST, LONGEST, MEAN = 32, 108, 512, 238
BATCH = 8
PADDING = 1.63  # tokens with padding over tokens without, in batches of 8: the mean of random draws from the data
SHORT = {"stackfaq_en": 25, "trec_dl19": 25, "stard_zh": 50}  # pairs from each set
LONG, LONE, LONE_TIMES = 8, 128, 5
QUERIES, CANDIDATES = {"trec_dl19": 10, "xquad_zh": 5, "stard_zh": 5}, 20
CALIBRATION = 300


@dataclass(frozen=True)
class Work:
    """Pairs to score, and their lengths in tokens, without padding or cuts.

    Attributes:
        name: A key of WORKS.
        calls: The pairs of each call.
        lengths: One for each pair, in the order of the calls.
    """

    name: str
    calls: list[list[Pair]]
    lengths: list[int]

    @property
    def pairs(self) -> list[Pair]:
        """The pairs of all calls."""
        return [pair for call in self.calls for pair in call]


class Chooser:
    """Chooses the pairs of each work with fixed seeds.

    Args:
        checkpoint: Whose tokenizer measures the lengths.
    """

    def __init__(self, checkpoint: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def choose(self, name: str) -> Work:
        """The work of that name."""
        pick: dict[str, Callable[[], list[list[Pair]]]] = {
            "a": lambda: [self._typical()],
            "b": lambda: [[pair for name, count in SHORT.items() for pair in self._short(name, count)]],
            "c": lambda: [self._long()],
            "d": lambda: [[self._lone()]] * LONE_TIMES,
            "f": lambda: [list(PAIRS)],
            "e": lambda: [call for name, count in QUERIES.items() for call in candidates(Collection(name), count)],
        }
        calls = pick[name]()
        return Work(name, calls, self._lengths([pair for call in calls for pair in call]))

    def _typical(self) -> list[Pair]:
        """32 passages for one query: a typical draw in its mean length and padding."""
        collections = [Collection(name) for name in ("cranfield", "xquad_en", "xquad_zh")]
        query = next(iter(collections[0].queries.values()))
        pairs = [(query, text) for collection in collections for text in collection.documents.values()]
        fitting = [item for item in zip(pairs, self._lengths(pairs), strict=True) if SHORTEST <= item[1] <= LONGEST]
        rng = random.Random(0)
        while True:
            drawn, lengths = zip(*rng.sample(fitting, PASSAGES), strict=True)
            if abs(fmean(lengths) - MEAN) <= 2 and abs(_padding([lengths]) - PADDING) <= 0.02:
                return list(drawn)

    def _short(self, name: str, count: int) -> Iterator[Pair]:
        """Queries of a set with documents drawn at random from among its short ones."""
        rng, collection = random.Random(name), Collection(name)
        queries, documents = list(collection.queries.values()), list(collection.documents.values())
        while count:
            pair = rng.choice(queries), rng.choice(documents)
            if 20 <= self._lengths([pair])[0] <= 60:
                count -= 1
                yield pair

    def _long(self) -> list[Pair]:
        """For one query, texts put together from Chinese and English passages, cut to the last token."""
        rng, pairs = random.Random(0), []
        english, chinese = Collection("xquad_en"), Collection("xquad_zh")
        query = next(iter(english.queries.values()))
        for number in range(LONG):
            texts = list((chinese if number % 2 else english).documents.values())
            pairs.append((query, self._cut(query, " ".join(rng.sample(texts, 12)))))
        return pairs

    def _cut(self, query: str, text: str) -> str:
        """As much of a text as gives pairs of 512 tokens."""
        while (length := self._lengths([(query, text)])[0]) != LONGEST:
            offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets
            text = text[: offsets[min(LONGEST - length, -1)][0]].rstrip()
        return text

    def _lone(self) -> Pair:
        """The pair of a set that is nearest to 128 tokens."""
        collection = Collection("xquad_en")
        query = next(iter(collection.queries.values()))
        pairs = [(query, text) for text in collection.documents.values()]
        return min(zip(self._lengths(pairs), pairs, strict=True), key=lambda item: abs(item[0] - LONE))[1]

    def _lengths(self, pairs: Sequence[Pair]) -> list[int]:
        return [len(encoding) for encoding in self._tokenizer.encode_batch(list(pairs))]


def candidates(collection: Collection, count: int) -> Iterator[list[Pair]]:
    """The first queries of a set that have enough candidates, each with the best of these."""
    enough = [(query, found) for query, found in collection.run().items() if len(found) >= CANDIDATES]
    for query, found in enough[:count]:
        yield [collection.pair(query, document) for document in found[:CANDIDATES]]


def padding(work: Work) -> float:
    """Tokens with padding, in batches of 8 in the given order, over tokens without."""
    lengths = iter(work.lengths)
    return _padding([[next(lengths) for _ in call] for call in work.calls])


def _padding(calls: Sequence[Sequence[int]]) -> float:
    batches = [call[start : start + BATCH] for call in calls for start in range(0, len(call), BATCH)]
    return sum(max(batch) * len(batch) for batch in batches) / sum(map(sum, batches))


def calibration() -> list[Pair]:
    """Pairs for static quantisation: queries with their own or any other document, from all sets; or the probe's."""
    if not DATA.is_dir():
        return list(PAIRS)
    rng, pairs = random.Random("calibration"), []
    for name in RELEVANT:
        collection = Collection(name)
        queries = rng.sample(list(collection.queries), min(len(collection.queries), CALIBRATION))
        for number, query in enumerate(queries):
            documents = [key for key, grade in collection.grades[query].items() if grade > 0 and number % 2]
            documents = [key for key in documents if key in collection.documents] or list(collection.documents)
            pairs.append(collection.pair(query, rng.choice(documents)))
    return rng.sample(pairs, CALIBRATION)
