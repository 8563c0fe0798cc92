"""`bge-cpu export`: a checkpoint -> a self-contained folder for ONNX Runtime."""

import importlib
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import DownloadColumn, TimeRemainingColumn

from bge_cpu.checkpoint.record import EXPORT_MODES
from bge_cpu.cli.options import LoadOptions, loads_a_model
from bge_cpu.cli.output import progress_bar
from bge_cpu.engines import default_mode


@loads_a_model("model", "mode", "max_length", "threads")
def export(
    model: Annotated[str, typer.Argument(help="A Hub id, a checkpoint folder, or mini.")],
    out: Annotated[Path, typer.Argument(help="The folder to write; new or empty.")],
    mode: Annotated[
        str | None,
        typer.Option(
            "--mode",
            help=f"{', '.join(EXPORT_MODES)}: what the folder will run; default: the fastest of them here.",
            show_default=False,
        ),
    ] = None,
    *,
    options: LoadOptions,
) -> None:
    """Write a checkpoint as a self-contained folder: model.onnx, tensors, tokenizer and configuration."""
    if mode is None:
        mode = default_mode() if default_mode() in EXPORT_MODES else "onnx-int8"
        typer.echo(f"exporting for mode {mode}, the fastest here; --mode names another", err=True)
    write = importlib.import_module("bge_cpu.export").export  # only now: it brings onnx along
    bar = progress_bar(DownloadColumn(), TimeRemainingColumn())
    task = bar.add_task(f"writing {out}", total=None)

    def show(done: int, total: int) -> None:
        bar.start()  # only now: building an INT8 artifact shows a bar of its own before
        bar.update(task, completed=done, total=total)

    try:
        folder = write(
            model,
            out,
            mode=mode,
            revision=options.revision,
            local_files_only=options.local_files_only,
            cache_dir=options.cache_dir,
            min_fidelity=options.least_fidelity(),
            progress=show,
        )
    finally:
        bar.stop()
    typer.echo(folder)
