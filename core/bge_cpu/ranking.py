"""Step 4 of a call: logits -> scores -> a ranking. Pure functions and plain data; no file, no model, no thread."""

import importlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType


@dataclass(frozen=True, slots=True)
class Ranked:
    """One document of a ranking.

    Attributes:
        index: Its place in the documents that were passed in, from 0.
        score: Its score; higher is more relevant.
        document: Its text, as passed in.
        truncated_tokens: How many tokens of query and document the model did not see because of max_length.
        span: With long_documents="windows", the part of the document that scored best: its first character and the
            one after its last. Else None.
    """

    index: int
    score: float
    document: str
    truncated_tokens: int
    span: tuple[int, int] | None = None


class Ranking(Sequence[Ranked]):
    """Documents from most to least relevant; ties stand in input order.

    It shows itself as a table in a notebook and through `rich.print` in a terminal.
    """

    def __init__(self, items: Sequence[Ranked]) -> None:
        self._items = tuple(items)

    @overload
    def __getitem__(self, index: int) -> Ranked: ...
    @overload
    def __getitem__(self, index: slice) -> "Ranking": ...
    def __getitem__(self, index: int | slice) -> "Ranked | Ranking":
        return Ranking(self._items[index]) if isinstance(index, slice) else self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Ranked]:
        return iter(self._items)

    def __eq__(self, other: object) -> bool:
        return self._items == other._items if isinstance(other, Ranking) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._items)

    def __repr__(self) -> str:
        return f"Ranking({list(self._items)})"

    def _repr_html_(self) -> str:
        return str(_display().html(self))

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[RenderableType]":
        yield _display().table(self, width=options.max_width)


def _display() -> ModuleType:
    """Only where a ranking is shown: rich is a third of what `import bge_cpu` would take."""
    return importlib.import_module("bge_cpu.display")


def normalized(logits: Sequence[float], normalize: str | None) -> list[float]:
    """Logits -> scores, as Python floats.

    Args:
        logits: The model's raw outputs, of any range.
        normalize: None keeps them; "sigmoid" maps each to 0..1, as the model card does; "softmax" maps them together
            to shares that sum to 1.
    """
    if normalize == "sigmoid":
        return [sigmoid(logit) for logit in logits]
    if normalize == "softmax":
        highest = max(logits, default=0.0)
        powers = [math.exp(logit - highest) for logit in logits]
        total = math.fsum(powers)
        return [power / total for power in powers]
    return list(logits)


def sigmoid(logit: float) -> float:
    """1 / (1 + e^-logit), without overflow.

    >>> sigmoid(0.0), sigmoid(-1000.0)
    (0.5, 0.0)
    """
    if logit >= 0:
        return 1 / (1 + math.exp(-logit))
    power = math.exp(logit)
    return power / (1 + power)


def order(logits: Sequence[float], top_n: int | None) -> list[int]:
    """The indices of the `top_n` highest logits (None: of all), highest first, ties in input order.

    >>> order([0.5, 2.0, 0.5], None)
    [1, 0, 2]
    """
    return sorted(range(len(logits)), key=lambda index: -logits[index])[:top_n]
