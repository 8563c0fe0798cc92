"""Arguments of every kind: what is a pair, and what an error shows of a text."""

import array
from collections import UserList, deque, namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bge_cpu import CheckpointError, InputError, Reranker
from bge_cpu.errors import shown
from bge_cpu.inputs import check_count, check_pair

Named = namedtuple("Named", ["query", "document"])


class Table:
    """A row as pandas and its kin have it: a size, an order and items, but no sequence by type."""

    def __init__(self, *cells: str) -> None:
        self._cells = cells

    def __len__(self) -> int:
        return len(self._cells)

    def __iter__(self) -> Any:
        return iter(self._cells)

    def __contains__(self, cell: object) -> bool:
        return cell in self._cells


PAIRS = [
    np.array(["q", "d"]),
    np.array(["q", "d"], dtype=object),
    ["q", "d"],
    Named("q", "d"),
    deque(["q", "d"]),
    UserList(["q", "d"]),
    {"a": "q", "b": "d"}.values(),
    Table("q", "d"),
]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: type(pair).__name__)
def test_two_texts_in_an_order_are_a_pair(pair: Any) -> None:
    checked = check_pair(pair, 0)
    assert checked == ("q", "d")
    assert {type(text) for text in checked} == {str}


def test_arrays_of_pairs_are_scored(tiny_reranker: Reranker) -> None:
    expected = tiny_reranker.score([("panda", "a bear"), ("panda", "tea")])
    rows = [["panda", "a bear"], ["panda", "tea"]]
    assert tiny_reranker.score(np.array(rows)) == expected
    assert list(tiny_reranker.score_stream(np.array(rows, dtype=object))) == expected


NO_PAIRS: list[Any] = [
    "qd",
    b"qd",
    {"q", "d"},
    {"q": 1, "d": 2},
    frozenset("qd"),
    iter(["q", "d"]),
    np.array("qd"),
    np.array(["q", "d", "e"]),
    ["q"],
    None,
    3,
    array.array("i", [1, 2]),
    np.array([1, 2]),
]


@pytest.mark.parametrize("pair", NO_PAIRS, ids=lambda pair: type(pair).__name__)
def test_what_has_no_order_or_other_items_is_no_pair(pair: Any) -> None:
    with pytest.raises(InputError, match="pair 5"):
        check_pair(pair, 5)


LONG = "secret " * 1_500_000
NESTED: list[Any] = []
for _ in range(100_000):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    "call",
    [
        lambda reranker: reranker.rank(" " * 10_000_000, ["d"]),
        lambda reranker: reranker.rank(LONG.encode(), ["d"]),
        lambda reranker: reranker.rank("q", LONG),
        lambda reranker: reranker.rank("q", [[LONG]]),
        lambda reranker: reranker.rank("q", ["d"], normalize=LONG),
        lambda reranker: reranker.rank("q", ["d"], long_documents=LONG),
        lambda reranker: reranker.rank("q", ["d"], top_n=10**5_000 * -1),
        lambda reranker: reranker.rank("q", ["d"], top_n=LONG),
        lambda reranker: reranker.score([LONG]),
        lambda reranker: reranker.score([(LONG, LONG, LONG)]),
        lambda reranker: reranker.score([("\n" * 10_000_000, LONG)]),
        lambda reranker: reranker.score([NESTED]),
        lambda reranker: Reranker.load(LONG),
        lambda reranker: Reranker.load("mini", mode=LONG),
        lambda reranker: Reranker.load("mini", revision=LONG),
        lambda reranker: Reranker.load("mini", max_length=10**5_000),
        lambda reranker: Reranker.load("mini", threads=10**5_000),
        lambda reranker: Reranker.load("mini", min_fidelity=LONG),  # type: ignore[arg-type]
    ],
)
def test_errors_show_a_few_characters_at_most(tiny_reranker: Reranker, call: Callable[[Reranker], Any]) -> None:
    with pytest.raises((InputError, CheckpointError)) as caught:
        call(tiny_reranker)
    assert len(str(caught.value)) < 500
    assert str(caught.value).count("secret") <= 30  # the name of a model may be longer than a piece of a text


def test_shown() -> None:
    assert shown("short") == "'short'"
    assert shown("x" * 10_000_000) == "'" + "x" * 36 + "..."
    assert shown(10**5_000) == "<int>" or shown(10**5_000).endswith("...")
    assert shown(NESTED) in ("<list>", "[" * 37 + "...")
    assert shown(3) == "3"


def test_a_whole_number_may_be_huge(tiny_reranker: Reranker) -> None:
    assert check_count(10**5_000, "n") == 10**5_000
    assert len(tiny_reranker.rank("q", ["a", "b"], top_n=10**30)) == 2
