"""Prepared lists -> what each step trains on. A pure function of seed and step, so a resumed run reads the same."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Listed:
    """A query with some of its candidates.

    Attributes:
        query: The query.
        passages: The candidates' texts.
        scores: The teacher's score of each.
        positive: Whether the first is known to be the right one.
    """

    query: str
    passages: tuple[str, ...]
    scores: tuple[float, ...]
    positive: bool


class Lists:
    """The lists that `prepare.py` wrote.

    Args:
        folder: Its folder.
        name: "lists" or "heldout".
        candidates: How many candidates of each list to draw; a list's positive is always among them.

    Raises:
        ValueError: There are no lists.
    """

    def __init__(self, folder: Path, name: str, candidates: int) -> None:
        self._candidates = candidates
        self._passages = [row["text"] for row in _rows(folder / "passages.jsonl")]
        self._lists = _rows(folder / f"{name}.jsonl")
        self._order = lru_cache(maxsize=2)(self._shuffled)
        if not self._lists:
            raise ValueError(f"{folder / name}.jsonl has no lists")

    def __len__(self) -> int:
        return len(self._lists)

    def at(self, step: int, count: int, seed: int) -> list[Listed]:
        """The lists of a step: every list once an epoch, in another order and with other candidates in each.

        Args:
            step: From 0.
            count: Lists per step.
            seed: Of the order and the draws.
        """
        made = []
        for place in range(step * count, (step + 1) * count):
            epoch, position = divmod(place, len(self._lists))
            made.append(self._drawn(self._order(seed, epoch)[position], random.Random(f"{seed}/{place}")))
        return made

    def _shuffled(self, seed: int, epoch: int) -> Sequence[int]:
        return random.Random(f"{seed}/epoch {epoch}").sample(range(len(self._lists)), len(self._lists))

    def _drawn(self, index: int, rng: random.Random) -> Listed:
        found = self._lists[index]
        first = [0] if found["positive"] else []
        others = range(len(first), len(found["candidates"]))
        chosen = first + rng.sample(others, min(self._candidates - len(first), len(others)))
        return Listed(
            found["query"],
            tuple(self._passages[found["candidates"][place]] for place in chosen),
            tuple(found["scores"][place] for place in chosen),
            found["positive"],
        )


def _rows(file: Path) -> list[dict[str, Any]]:
    with file.open(encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]
