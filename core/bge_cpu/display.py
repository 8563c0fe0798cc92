"""How a ranking looks: an HTML table for notebooks, a rich table for terminals, however narrow they are."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from bge_cpu.ranking import Ranked

_ROWS = 20
_CHARACTERS = 300
_BAR = 20
_LEAST_BAR = 5
_TEXT = 30  # columns that a text gets before its bar gets any
_LEAST_TEXT = 24  # with fewer it stands below its score
_UNBOUNDED = 10_000  # columns
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


def table(ranking: "Sequence[Ranked]", *, width: int, rows: int = _ROWS) -> RenderableType:
    """What a terminal shows: rank, index, score, score bar, text; `rows` rows at most, then how many were left out.

    Where it is narrow the bars shrink first, then they go, then each text stands below its score.

    Args:
        ranking: What is shown.
        width: The terminal's, in columns.
        rows: How many at most.
    """
    shown = list(zip(ranking[:rows], bars([item.score for item in ranking]), strict=False))
    scores = [f"{item.score:.4f}" for item, _ in shown]
    figures = [("rank", str(len(shown))), ("index", *(str(item.index) for item, _ in shown)), ("score", *scores)]
    left = width - sum(max(map(len, column)) + 2 for column in figures) - 2
    if left < _LEAST_TEXT:
        return Group(*_stacked(ranking, shown, rows))
    bar = min(_BAR, left - 2 - _TEXT)
    view = Table(box=None, padding=(0, 1), caption=_left_out(ranking, rows), caption_justify="left")
    view.add_column("rank", justify="right", no_wrap=True)
    view.add_column("index", justify="right", no_wrap=True, style="dim")
    view.add_column("score", justify="right", no_wrap=True, style="bold")
    if bar >= _LEAST_BAR:
        view.add_column("", width=bar, no_wrap=True, style="green")
    view.add_column("document", overflow="fold")
    for rank, (score, (item, share)) in enumerate(zip(scores, shown, strict=True), 1):
        cells = [str(rank), str(item.index), score, *([_bar(share, bar)] if bar >= _LEAST_BAR else [])]
        view.add_row(*cells, _text(item))
    return view


class Fitted:
    """A table, or where the terminal is too narrow for its words a list: each row's first cell, the others below it.

    Args:
        table: What is shown.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        table, unbounded = self._table, options.update(width=_UNBOUNDED)
        least = Measurement.get(console, unbounded, table).minimum
        if least <= options.max_width:
            self._share_out(console, unbounded, options.max_width - least)
            yield table
            return
        first, *others = table.columns
        for number, head in enumerate(first.cells):
            yield head
            below = Table(box=None, padding=(0, 1), show_header=False)
            below.add_column()
            below.add_column(overflow="fold")
            for column in others:
                below.add_row(column.header, list(column.cells)[number])
            yield Padding(below, (0, 0, 0, 1))

    def _share_out(self, console: Console, unbounded: ConsoleOptions, free: int) -> None:
        """Set the columns' widths: their longest word each, and of what is free a share of what they lack."""
        least, lacking = [], []
        for column in self._table.columns:
            cells = [Measurement.get(console, unbounded, cell) for cell in (column.header, *column.cells)]
            least.append(max(cell.minimum for cell in cells))
            lacking.append(max(cell.maximum for cell in cells) - least[-1])
        for column, width, lacks in zip(self._table.columns, least, lacking, strict=True):
            column.width = width + min(lacks, lacks * free // max(1, sum(lacking)))


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


def _stacked(
    ranking: "Sequence[Ranked]", shown: "Sequence[tuple[Ranked, float]]", rows: int
) -> Iterator[RenderableType]:
    for rank, (item, share) in enumerate(shown, 1):
        head = Text(f"{rank}  ", no_wrap=True).append(f"{item.score:.4f}", style="bold")
        yield head.append(f"  index {item.index}  ", style="dim").append(_bar(share, _BAR // 2), style="green")
        yield Padding(_text(item), (0, 0, 0, 3))
    if caption := _left_out(ranking, rows):
        yield caption


def _text(item: "Ranked") -> Text:
    text = Text(_line(_scored(item)), overflow="fold")
    return text.append(f"  [{_cut(item)}]", style="yellow") if item.truncated_tokens else text


def _bar(share: float, width: int) -> str:
    eighths = round(share * width * 8)
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
