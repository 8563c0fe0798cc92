"""`bge-cpu export`: a checkpoint -> a self-contained folder for ONNX Runtime."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from bge_cpu.cli.options import CacheDir, LocalFilesOnly, MinFidelity, Revision, min_fidelity
from bge_cpu.export import export as write
from bge_cpu.record import MODES


def export(
    model: Annotated[str, typer.Argument(help="A Hub id, a checkpoint folder, or mini.")],
    out: Annotated[Path, typer.Argument(help="The folder to write; new or empty.")],
    mode: Annotated[str, typer.Option("--mode", help=f"{' or '.join(MODES)}: what the folder will run.")],
    revision: Revision = None,
    local_files_only: LocalFilesOnly = False,
    cache_dir: CacheDir = None,
    fidelity: MinFidelity = "0.98",
) -> None:
    """Write a checkpoint as a self-contained folder: model.onnx, tensors, tokenizer and configuration."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    task = bar.add_task(f"writing {out}", total=None)

    def show(done: int, total: int) -> None:
        bar.start()  # only now: building an INT8 artifact shows a bar of its own before
        bar.update(task, completed=done, total=total)

    try:
        folder = write(
            model,
            out,
            mode=mode,
            revision=revision,
            local_files_only=local_files_only,
            cache_dir=cache_dir,
            min_fidelity=min_fidelity(fidelity),
            progress=show,
        )
    finally:
        bar.stop()
    typer.echo(folder)
