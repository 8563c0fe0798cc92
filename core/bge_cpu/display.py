"""How a ranking looks: an HTML table for notebooks, a rich table for terminals."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from bge_cpu.ranking import Ranked

_ROWS = 20
_CHARACTERS = 300
_BAR = 20
_EIGHTHS = " ▏▎▍▌▋▊▉"


def bars(scores: Sequence[float]) -> list[float]:
    """The length of each score's bar, 0..1: the score itself where all lie in 0..1, else its place between the ends.

    >>> bars([0.25, 1.0]), bars([3.0, 1.0, -1.0])
    ([0.25, 1.0], [1.0, 0.5, 0.0])
    """
    low, high = min(scores, default=0.0), max(scores, default=1.0)
    if low >= 0 and high <= 1:
        return list(scores)
    return [(score - low) / (high - low) if high > low else 1.0 for score in scores]


def table(ranking: "Sequence[Ranked]", *, rows: int = _ROWS) -> Table:
    """A rich table: rank, index, score, score bar, text; `rows` rows at most, then how many were left out."""
    view = Table(box=None, padding=(0, 1), caption=_left_out(ranking, rows), caption_justify="left")
    view.add_column("rank", justify="right")
    view.add_column("index", justify="right", style="dim")
    view.add_column("score", justify="right", style="bold")
    view.add_column("", width=_BAR, no_wrap=True, style="green")
    view.add_column("document", overflow="fold")
    for rank, (item, share) in enumerate(zip(ranking, bars([item.score for item in ranking]), strict=True), 1):
        if rank > rows:
            break
        text = Text(_line(_scored(item)))
        if item.truncated_tokens:
            text.append(f"  [{_cut(item)}]", style="yellow")
        view.add_row(str(rank), str(item.index), f"{item.score:.4f}", _bar(share), text)
    return view


def html(ranking: "Sequence[Ranked]", *, rows: int = _ROWS) -> str:
    """An HTML table with the same columns; every text is escaped."""
    lines = []
    for rank, (item, share) in enumerate(zip(ranking, bars([item.score for item in ranking]), strict=True), 1):
        if rank > rows:
            break
        cut = f' <em style="color:#b45309">[{_cut(item)}]</em>' if item.truncated_tokens else ""
        lines.append(
            f"<tr><td>{rank}</td><td>{item.index}</td><td><b>{item.score:.4f}</b></td>"
            f'<td style="min-width:9em"><div style="background:#2e9e5b;height:.8em;width:{share:.1%}"></div></td>'
            f'<td style="text-align:left">{escape(_line(_scored(item)))}{cut}</td></tr>'
        )
    head = "<tr><th>rank</th><th>index</th><th>score</th><th></th><th style='text-align:left'>document</th></tr>"
    return f"<table>{head}{''.join(lines)}</table><p>{_left_out(ranking, rows) or ''}</p>"


def _bar(share: float) -> str:
    eighths = round(share * _BAR * 8)
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")


def _line(text: str) -> str:
    """A text on one line, without control characters, shortened for the eye."""
    start = text[: 4 * _CHARACTERS]
    line = " ".join("".join(char if char.isprintable() else " " for char in start).split())
    return line if len(line) <= _CHARACTERS and len(start) == len(text) else line[: _CHARACTERS - 1] + "…"


def _scored(item: "Ranked") -> str:
    """The document, or the part of it that earned the score."""
    start, end = item.span or (0, len(item.document))
    return "… " * (start > 0) + item.document[start:end] + " …" * (end < len(item.document))


def _cut(item: "Ranked") -> str:
    return f"{item.truncated_tokens:,} tokens cut"


def _left_out(ranking: "Sequence[Ranked]", rows: int) -> str | None:
    return f"… and {len(ranking) - rows:,} more" if len(ranking) > rows else None
