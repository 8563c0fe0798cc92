"""How a ranking shows itself, in a notebook and in a terminal."""

import pytest
import rich.console

from bge_cpu import Ranked, Ranking
from bge_cpu.display import bars


def ranking(*documents: str, scores: tuple[float, ...] = (), cut: int = 0) -> Ranking:
    values = scores or tuple(1 - index / 100 for index in range(len(documents)))
    return Ranking([Ranked(index, values[index], text, cut) for index, text in enumerate(documents)])


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
