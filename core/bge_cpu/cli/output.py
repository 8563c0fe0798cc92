"""What several verbs show and write: progress bars, JSON, files that are checked before the work, not after it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TaskID, TextColumn

from bge_cpu.errors import InputError

_CHARTS = (".svg", ".png")

JsonFile = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE|-", help="Write all figures there, too; - prints them instead of the table."),
]
"""The option --json, which means the same in every verb."""


def progress_bar(*columns: ProgressColumn) -> Progress:
    """A bar on stderr that goes when it is done; nothing where stderr is no terminal.

    Args:
        columns: What stands behind the bar; default: how many of how many.
    """
    behind = columns or (MofNCompleteColumn(),)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *behind,
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


def told(bar: Progress) -> Callable[[str, str, int, int], None]:
    """A callback for `evaluation.evaluate` that shows a bar for the set and mode at work."""
    bars: dict[tuple[str, str], TaskID] = {}

    def tell(mode: str, name: str, done: int, total: int) -> None:
        if (mode, name) not in bars:
            for other in bars.values():
                bar.update(other, visible=False)
            bars[mode, name] = bar.add_task(f"{mode}: {name}", total=total)
        bar.update(bars[mode, name], completed=done)

    return tell


def on_stdout(json_file: Path | None) -> bool:
    """Whether JSON takes the table's place."""
    return str(json_file) == "-"


def write_json(figures: Any, json_file: Path | None) -> None:
    """Write figures as JSON, which has no nan, to where --json says; nothing where it says nothing."""
    if json_file is None:
        return
    text = json.dumps(figures, ensure_ascii=False, indent=1, allow_nan=False)
    if on_stdout(json_file):
        typer.echo(text)
    else:
        json_file.write_text(f"{text}\n", encoding="utf-8")


def tell_empty_lines(number: int) -> None:
    """Say on stderr that lines without text were no documents and no queries; nothing where there were none."""
    if number:
        typer.echo(f"{number:,} empty {'line was' if number == 1 else 'lines were'} passed over", err=True)


def check_outputs(json_file: Path | None, chart: Path | None = None) -> None:
    """Refuse now what could not be written after the work.

    Raises:
        InputError: It names the file and what is wrong with it.
    """
    if chart is not None and chart.suffix.lower() not in _CHARTS:
        raise InputError(f"--chart is a file that ends in {' or '.join(_CHARTS)}, not {str(chart)!r}")
    if json_file is not None and str(json_file).startswith("-") and not on_stdout(json_file):
        raise InputError(f"--json is a file, or - for stdout, not {str(json_file)!r}", hint="print JSON with: --json -")
    for file in (None if on_stdout(json_file) else json_file, chart):
        if file is not None and file.is_dir():
            raise InputError(f"{file} cannot be written: it is a folder")
        if file is not None and not file.parent.is_dir():
            raise InputError(f"{file} cannot be written: there is no folder {file.parent}")
