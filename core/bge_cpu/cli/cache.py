"""`bge-cpu cache list|prune`: the INT8 artifacts on this machine."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bge_cpu.cli.options import CacheDir
from bge_cpu.errors import ArtifactError
from bge_cpu.quantization import fidelity
from bge_cpu.quantization.artifacts import damage
from bge_cpu.quantization.cache import Pruning, artifacts, default_cache, remove, size
from bge_cpu.quantization.hashes import forget_missing

app = typer.Typer(name="cache", help="List or prune the INT8 artifacts on this machine.", no_args_is_help=True)


@app.command("list")
def list_artifacts(cache_dir: CacheDir = None) -> None:
    """Show each artifact with its model, mode, size and fidelity."""
    cache = _cache(cache_dir)
    table = Table(box=None, padding=(0, 1), title=Text(str(cache)), title_justify="left")
    for column in ("model", "mode", "MB", "Spearman", "state"):
        table.add_column(column, justify="right" if column in ("MB", "Spearman") else "left", overflow="fold")
    for folder, manifest in artifacts(cache):
        megabytes = f"{size(folder) / 1e6:.0f}"
        if manifest is None:
            table.add_row(folder.name, "", megabytes, "", "left by a build that was stopped")
            continue
        found = fidelity.read(folder)
        spearman = f"{found.spearman:.4f}" if found else "not measured"
        try:
            state = damage(folder) or "whole"
        except OSError as error:
            state = f"cannot be read: {error.strerror}"
        table.add_row(Text(manifest.model), Text(manifest.mode), megabytes, spearman, state)
    Console(highlight=False).print(table)


@app.command()
def prune(
    everything: Annotated[bool, typer.Option("--all", help="Remove all artifacts.")] = False,
    older_than: Annotated[
        float | None, typer.Option("--older-than", metavar="DAYS", min=0, help="Those not loaded for so many days.")
    ] = None,
    missing_source: Annotated[
        bool, typer.Option("--missing-source", help="Those whose checkpoint is no longer on the disk.")
    ] = False,
    max_size: Annotated[
        float | None,
        typer.Option("--max-size", metavar="GB", min=0, help="Those used the longest ago, until the rest fits."),
    ] = None,
    cache_dir: CacheDir = None,
) -> None:
    """Remove damaged artifacts and what stopped builds left, and the whole artifacts that the options name.

    One that is being built is let be, and so is everything else in the folder.
    """
    cache, freed = _cache(cache_dir), 0
    pruning = Pruning(everything, older_than, missing_source, None if max_size is None else max_size * 1e9)
    broken, whole = [], []
    for folder, manifest in artifacts(cache):
        try:
            if manifest is None or damage(folder) is not None:
                broken.append(folder)
            else:
                whole.append((folder, manifest))
        except OSError as error:  # that is no damage
            typer.echo(f"{folder.name} cannot be read ({error.strerror}); let be", err=True)
    for folder in (*broken, *pruning.chosen(cache, whole)):
        try:
            taken = size(folder)
            removed = remove(folder)
        except OSError as error:
            raise ArtifactError(f"{folder} cannot be removed: {error.strerror}") from error
        if removed:
            freed += taken
            typer.echo(f"removed {folder.name}")
        else:
            typer.echo(f"{folder.name} is being built or holds files of others; let be", err=True)
    if missing_source:
        forget_missing(cache)
    typer.echo(f"{freed / 1e6:.0f} MB freed")


def _cache(cache_dir: Path | None) -> Path:
    cache = default_cache() if cache_dir is None else cache_dir.expanduser().absolute()
    if cache is None:
        raise ArtifactError("the user has no home folder, hence no cache", hint="name one with --cache-dir")
    return cache
