"""`bge-cpu cache list|prune`: the INT8 artifacts on this machine."""

import shutil
from pathlib import Path
from typing import Annotated

import typer
from filelock import FileLock, Timeout
from rich.console import Console
from rich.table import Table

from bge_cpu.cli.options import CacheDir
from bge_cpu.errors import ArtifactError
from bge_cpu.quantization import fidelity
from bge_cpu.quantization.artifacts import artifacts, damage, default_cache

app = typer.Typer(name="cache", help="List or prune the INT8 artifacts on this machine.", no_args_is_help=True)


@app.command("list")
def list_artifacts(cache_dir: CacheDir = None) -> None:
    """Show each artifact with its model, mode, size and fidelity."""
    cache = _cache(cache_dir)
    table = Table(box=None, padding=(0, 1), title=str(cache), title_justify="left")
    for column in ("model", "mode", "MB", "Spearman", "state"):
        table.add_column(column, justify="right" if column in ("MB", "Spearman") else "left", overflow="fold")
    for folder, manifest in artifacts(cache):
        if manifest is None:
            table.add_row(folder.name, "", f"{_size(folder) / 1e6:.0f}", "", "left by a build that was stopped")
            continue
        found = fidelity.read(folder)
        spearman = f"{found.spearman:.4f}" if found else "not measured"
        state = damage(folder) or "whole"
        table.add_row(manifest["model"], manifest["mode"], f"{_size(folder) / 1e6:.0f}", spearman, state)
    Console(highlight=False).print(table)


@app.command()
def prune(
    everything: Annotated[bool, typer.Option("--all", help="Remove whole artifacts too.")] = False,
    cache_dir: CacheDir = None,
) -> None:
    """Remove damaged artifacts and what stopped builds left; an artifact being built is let be."""
    freed = 0
    for folder, manifest in artifacts(_cache(cache_dir)):
        if manifest is not None and not everything and damage(folder) is None:
            continue
        artifact = folder.name.lstrip(".").rpartition(".")[0] if folder.name.startswith(".") else folder.name
        try:
            with FileLock(folder.parent / f"{artifact}.lock", timeout=0):
                size = _size(folder)
                shutil.rmtree(folder)
        except Timeout:
            typer.echo(f"{folder.name} is being built; let be", err=True)
            continue
        except OSError as error:
            raise ArtifactError(f"{folder} cannot be removed: {error.strerror}") from error
        freed += size
        typer.echo(f"removed {folder.name}")
    typer.echo(f"{freed / 1e6:.0f} MB freed")


def _cache(cache_dir: Path | None) -> Path:
    cache = cache_dir or default_cache()
    if cache is None:
        raise ArtifactError("the user has no home folder, hence no cache", hint="name one with --cache-dir")
    return cache


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
