"""`bge-cpu cache list|prune`: the INT8 artifacts on this machine."""

import math
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bge_cpu.cli.options import CacheDir
from bge_cpu.cli.output import JsonFile, check_outputs, on_stdout, write_json
from bge_cpu.display import Fitted
from bge_cpu.errors import ArtifactError
from bge_cpu.quantization import fidelity
from bge_cpu.quantization.artifacts import damage
from bge_cpu.quantization.cache import Pruning, artifacts, default_cache, remove, size
from bge_cpu.quantization.hashes import forget_missing
from bge_cpu.quantization.manifest import Manifest

app = typer.Typer(name="cache", help="List or prune the INT8 artifacts on this machine.", no_args_is_help=True)


@app.command("list")
def list_artifacts(cache_dir: CacheDir = None, json_file: JsonFile = None) -> None:
    """Show each artifact with its model, mode, size and fidelity."""
    check_outputs(json_file)
    cache = _cache(cache_dir)
    found = [_described(folder, manifest) for folder, manifest in artifacts(cache)]
    write_json({"cache": str(cache), "artifacts": found}, json_file)
    if not on_stdout(json_file):
        console = Console(highlight=False)
        console.print(Text(str(cache), style="italic"), soft_wrap=True)
        console.print(Fitted(_table(found)))


def _described(folder: Path, manifest: Manifest | None) -> dict[str, Any]:
    """An artifact; of what a stopped build left there is neither model nor mode."""
    what = {"folder": folder.name, "bytes": size(folder)}
    if manifest is None:
        return what | {"model": None, "mode": None, "spearman": None, "state": "left by a build that was stopped"}
    measured = fidelity.read(folder)
    try:
        state = damage(folder) or "whole"
    except OSError as error:
        state = f"cannot be read: {error.strerror}"
    spearman = measured.spearman if measured and math.isfinite(measured.spearman) else None
    return what | {"model": manifest.model, "mode": manifest.mode, "spearman": spearman, "state": state}


def _table(found: list[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 1))
    for column in ("model", "mode", "MB", "Spearman", "state"):
        table.add_column(column, justify="right" if column in ("MB", "Spearman") else "left", overflow="fold")
    for artifact in found:
        spearman = "not measured" if artifact["spearman"] is None else f"{artifact['spearman']:.4f}"
        model, mode = (artifact[name] or "" for name in ("model", "mode"))
        figures = f"{artifact['bytes'] / 1e6:.0f}", spearman if mode else ""
        table.add_row(Text(model or artifact["folder"]), Text(mode), *figures, artifact["state"])
    return table


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
