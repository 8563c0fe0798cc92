"""`bge-cpu doctor`: what stands in the way of a mode here, and what to do about it."""

import json
import os
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bge_cpu.checkpoint import open_checkpoint
from bge_cpu.cli.options import CacheDir, Mode, Model
from bge_cpu.doctor import OK, PROBLEM, WARNING, Check, examine
from bge_cpu.engines import check_mode
from bge_cpu.errors import CheckpointError
from bge_cpu.inputs import DEFAULT_MODEL
from bge_cpu.quantization.artifacts import default_cache

_STYLES = {OK: "green", WARNING: "yellow", PROBLEM: "bold red"}


def doctor(
    mode: Mode = None,
    model: Model = DEFAULT_MODEL,
    cache_dir: CacheDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object instead of a table.")] = False,
) -> None:
    """Tell whether a mode can run a model here, and what to do if not; exit code 1 means it cannot."""
    mode = check_mode(_exported_mode(model) if mode is None else mode)
    cache = default_cache() if cache_dir is None else cache_dir.expanduser().absolute()
    checks = examine(mode, model, environ=os.environ, cache=cache)
    runs = all(check.status != PROBLEM for check in checks)
    if as_json:
        answer = {"mode": mode, "model": model, "runs": runs, "checks": [asdict(check) for check in checks]}
        typer.echo(json.dumps(answer, ensure_ascii=False, indent=1))
    else:
        console = Console(highlight=False)
        console.print(_table(checks))
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
        finding = Text(check.found)
        if check.meaning:
            finding.append(f"\n{check.meaning}", style="dim")
        if check.remedy:
            finding.append(f"\n→ {check.remedy}", style="" if check.status == OK else "cyan")
        view.add_row(Text(check.status, style=_STYLES[check.status]), check.name, finding)
    return view


def _verdict(mode: str, model: str, checks: list[Check]) -> Text:
    problems = [check.name for check in checks if check.status == PROBLEM]
    warnings = [check.name for check in checks if check.status == WARNING]
    if problems:
        return Text(f"\nmode {mode} cannot run {model} here; see {', '.join(problems)}", style=_STYLES[PROBLEM])
    if warnings:
        return Text(
            f"\nmode {mode} runs here; before it runs {model}, see {', '.join(warnings)}", style=_STYLES[WARNING]
        )
    return Text(f"\nmode {mode} runs {model} here", style=_STYLES[OK])
