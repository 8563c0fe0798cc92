"""Scores from logits, and order."""

import copy
import json
import math
import pickle
from dataclasses import FrozenInstanceError, asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bge_cpu import Ranked, Ranking
from bge_cpu.ranking import normalized, order, sigmoid

LOGITS = st.lists(st.floats(-1e4, 1e4, width=32), max_size=30)


@given(LOGITS)
def test_sigmoid_keeps_the_order_within_0_and_1(logits: list[float]) -> None:
    scores = normalized(sorted(logits), "sigmoid")
    assert scores == sorted(scores)
    assert all(0 <= score <= 1 for score in scores)


@given(LOGITS.filter(bool))
def test_softmax_sums_to_1(logits: list[float]) -> None:
    assert sum(normalized(logits, "softmax")) == pytest.approx(1)


def test_normalization_by_hand() -> None:
    assert normalized([0.0, math.log(3)], "sigmoid") == pytest.approx([0.5, 0.75])
    assert normalized([0.0, math.log(3)], "softmax") == pytest.approx([0.25, 0.75])
    assert normalized([0.0, 2.5], None) == [0.0, 2.5]
    assert sigmoid(-5.26) + sigmoid(5.26) == pytest.approx(1)


@given(LOGITS, st.none() | st.integers(1, 40))
def test_order_is_stable_and_complete(logits: list[float], top_n: int | None) -> None:
    indices = order(logits, top_n)
    assert indices == sorted(range(len(logits)), key=lambda index: (-logits[index], index))[:top_n]


def ranking(*documents: str, scores: tuple[float, ...] = (), cut: int = 0) -> Ranking:
    values = scores or tuple(1 - index / 100 for index in range(len(documents)))
    return Ranking([Ranked(index, values[index], text, cut) for index, text in enumerate(documents)])


def test_a_ranking_is_a_sequence() -> None:
    three = ranking("a", "b", "c")
    assert len(three) == 3
    assert three[0].document == "a"
    assert three[-1].document == "c"
    assert isinstance(three[:2], Ranking)
    assert three[:2] == ranking("a", "b")
    assert three != ranking("a")
    assert "document='b'" in repr(three)
    assert pickle.loads(pickle.dumps(three)) == copy.deepcopy(three) == three
    assert hash(three) == hash(ranking("a", "b", "c"))
    assert json.dumps([asdict(item) for item in three])


def test_a_ranked_document_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        ranking("a")[0].score = 2.0  # type: ignore[misc]
