"""How a ranking shows itself, in a notebook and in a terminal."""

import pytest
import rich.console
from rich.table import Table

from bge_cpu import Ranked, Ranking
from bge_cpu.display import Fitted, bars


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


def shown(value: Ranking | Fitted, width: int = 100) -> str:
    console = rich.console.Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
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


PANDA = "The giant panda is a bear that lives in China."


def test_a_narrow_terminal_costs_the_bars_before_the_text() -> None:
    value = ranking(PANDA, "hi", scores=(1.0, 0.5))
    rows = {width: shown(value, width).splitlines() for width in (80, 62, 50, 40)}
    assert all(len(line) <= width for width, lines in rows.items() for line in lines)
    assert [sum(line.count("█") for line in rows[width]) for width in (80, 62, 50, 40)] == [30, 10, 0, 15]
    assert rows[80][1].split()[4:] == ["The", "giant", "panda", "is", "a", "bear", "that"]
    assert [line.strip() for line in rows[50][1:3]] == [
        "1      0  1.0000  The giant panda is a bear",
        "that lives in China.",
    ]
    assert [line.rstrip() for line in rows[40]] == [
        "1  1.0000  index 0  ██████████",
        "   The giant panda is a bear that lives",
        "   in China.",
        "2  0.5000  index 1  █████",
        "   hi",
    ]
    assert "… and 30 more" in shown(ranking(*["hi"] * 50), 40)


def test_a_table_too_wide_for_its_words_becomes_a_list() -> None:
    def table() -> Fitted:
        view = Table(box=None, padding=(0, 1))
        for column in ("model", "mode", "what was found"):
            view.add_column(column)
        view.add_row("BAAI/bge-reranker-v2-m3", "native-int8", "whole")
        return Fitted(view)

    assert [line.rstrip() for line in shown(table(), 80).splitlines()] == [
        " model                    mode         what was found",
        " BAAI/bge-reranker-v2-m3  native-int8  whole",
    ]
    assert [line.rstrip() for line in shown(table(), 50).splitlines()] == [
        "                                       what was",
        " model                    mode         found",
        " BAAI/bge-reranker-v2-m3  native-int8  whole",
    ]
    assert [line.rstrip() for line in shown(table(), 40).splitlines()] == [
        "BAAI/bge-reranker-v2-m3",
        "  mode            native-int8",
        "  what was found  whole",
    ]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([], []), ([0.2, 0.8], [0.2, 0.8]), ([5.0, -5.0, 0.0], [1.0, 0.0, 0.5]), ([7.0, 7.0], [1.0, 1.0])],
)
def test_bars(scores: list[float], expected: list[float]) -> None:
    assert bars(scores) == pytest.approx(expected)
