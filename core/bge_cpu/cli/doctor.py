"""`bge-cpu doctor`: what stands in the way of a mode here, and what to do about it."""

import os
from collections.abc import Iterator
from dataclasses import asdict

import typer
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bge_cpu.checkpoint import open_checkpoint
from bge_cpu.cli.options import CacheDir, Mode, Model
from bge_cpu.cli.output import JsonFile, check_outputs, on_stdout, write_json
from bge_cpu.doctor import OK, PROBLEM, WARNING, Check, examine
from bge_cpu.engines import check_mode
from bge_cpu.errors import CheckpointError
from bge_cpu.inputs import DEFAULT_MODEL
from bge_cpu.quantization.artifacts import default_cache

_NARROW = 60  # columns; with fewer a finding stands below its name
_STYLES = {OK: "green", WARNING: "yellow", PROBLEM: "bold red"}


def doctor(
    mode: Mode = None,
    model: Model = DEFAULT_MODEL,
    cache_dir: CacheDir = None,
    json_file: JsonFile = None,
) -> None:
    """Tell whether a mode can run a model here, and what to do if not; exit code 1 means it cannot."""
    check_outputs(json_file)
    mode = check_mode(_exported_mode(model) if mode is None else mode)
    cache = default_cache() if cache_dir is None else cache_dir.expanduser().absolute()
    checks = examine(mode, model, environ=os.environ, cache=cache)
    runs = all(check.status != PROBLEM for check in checks)
    answer = {"mode": mode, "model": model, "runs": runs, "checks": [asdict(check) for check in checks]}
    write_json(answer, json_file)
    if not on_stdout(json_file):
        console = Console(highlight=False)
        console.print(_table(checks) if console.width >= _NARROW else Group(*_list(checks)))
        console.print(_verdict(mode, model, checks))
    if not runs:
        raise typer.Exit(1)


def _exported_mode(model: str) -> str | None:
    """The mode of an exported folder; what is wrong with a model that cannot be opened is for `examine` to say."""
    try:
        return open_checkpoint(model, local_files_only=True).exported_mode
    except CheckpointError:
        return None


def _table(checks: list[Check]) -> Table:
    view = Table(box=None, padding=(0, 1), show_header=False)
    view.add_column("status")
    view.add_column("name", style="bold", no_wrap=True)
    view.add_column("finding", overflow="fold")
    for check in checks:
        view.add_row(Text(check.status, style=_STYLES[check.status]), check.name, _finding(check))
    return view


def _list(checks: list[Check]) -> Iterator[RenderableType]:
    for check in checks:
        yield Text(check.name, style="bold").append(f"  {check.status}", style=f"not bold {_STYLES[check.status]}")
        yield Padding(_finding(check), (0, 0, 0, 2))


def _finding(check: Check) -> Text:
    finding = Text(check.found, overflow="fold")
    if check.meaning:
        finding.append(f"\n{check.meaning}", style="dim")
    if check.remedy:
        finding.append(f"\n→ {check.remedy}", style="" if check.status == OK else "cyan")
    return finding


def _verdict(mode: str, model: str, checks: list[Check]) -> Text:
    problems = [check.name for check in checks if check.status == PROBLEM]
    warnings = [check.name for check in checks if check.status == WARNING]
    if problems:
        return Text(f"\nmode {mode} cannot run {model} here; see {', '.join(problems)}", style=_STYLES[PROBLEM])
    if warnings:
        return Text(f"\nmode {mode} runs {model} here; worth knowing: {', '.join(warnings)}", style=_STYLES[WARNING])
    return Text(f"\nmode {mode} runs {model} here", style=_STYLES[OK])
