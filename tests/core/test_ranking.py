"""Scores from logits, order, and how a ranking shows itself."""

import copy
import json
import math
import pickle
from dataclasses import FrozenInstanceError, asdict

import pytest
import rich.console
from hypothesis import given
from hypothesis import strategies as st

from bge_cpu import Ranked, Ranking
from bge_cpu.display import bars
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


def test_html_escapes_and_says_what_was_cut() -> None:
    page = ranking("<script>alert(1)</script> & co", cut=1_234)._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in page
    assert "1,234 tokens cut" in page
    assert "0.99" in ranking("a", "b")._repr_html_()


def test_long_rankings_and_texts_are_shortened_for_the_eye_only() -> None:
    many = ranking(*["x" * 10_000] * 50)
    assert "and 30 more" in many._repr_html_()
    assert len(many._repr_html_()) < 20_000
    assert len(many[0].document) == 10_000


def shown(value: Ranking) -> str:
    console = rich.console.Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(value)
    console.file.close()
    return console.export_text()


def test_terminal_table_shows_rank_score_bar_and_text() -> None:
    text = shown(ranking("第一", "[bold]second[/bold]", scores=(1.0, 0.5), cut=7))
    assert "1.0000" in text
    assert "█" in text
    assert "第一" in text
    assert "[bold]second[/bold]" in text
    assert "7 tokens cut" in text


def test_terminal_table_defuses_control_characters() -> None:
    assert "\x1b" not in shown(ranking("\x1b[2Jcleared\x07"))


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([], []), ([0.2, 0.8], [0.2, 0.8]), ([5.0, -5.0, 0.0], [1.0, 0.0, 0.5]), ([7.0, 7.0], [1.0, 1.0])],
)
def test_bars(scores: list[float], expected: list[float]) -> None:
    assert bars(scores) == pytest.approx(expected)
