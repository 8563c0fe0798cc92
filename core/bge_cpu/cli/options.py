"""The options that verbs share, and how their Reranker is loaded."""

from pathlib import Path
from typing import Annotated

import typer

from bge_cpu.engines import DEFAULT_MODE, EXTRAS
from bge_cpu.errors import InputError

Model = Annotated[str, typer.Option("--model", "-m", help="A Hub id, a checkpoint folder, or mini.")]
Mode = Annotated[
    str | None, typer.Option("--mode", help=f"{', '.join(EXTRAS)}; default: {DEFAULT_MODE}.", show_default=False)
]
MaxLength = Annotated[int, typer.Option("--max-length", help="Tokens per pair at most.")]
Threads = Annotated[
    int | None, typer.Option("--threads", help="CPUs to use at most; default: all it may.", show_default=False)
]
Revision = Annotated[str | None, typer.Option("--revision", help="Branch, tag or commit on the Hub.")]
LocalFilesOnly = Annotated[bool, typer.Option("--local-files-only", help="Never call the Hub.")]
CacheDir = Annotated[
    Path | None, typer.Option("--cache-dir", help="Where INT8 artifacts are kept; default: the user's cache.")
]
MinFidelity = Annotated[
    str, typer.Option("--min-fidelity", help="Least rank correlation of INT8 with float32, or none.")
]


def min_fidelity(value: str) -> float | None:
    """The number that --min-fidelity names.

    Raises:
        InputError: Neither a number nor "none".
    """
    if value == "none":
        return None
    try:
        return float(value)
    except ValueError as error:
        raise InputError(f"--min-fidelity is a number from 0 to 1 or none, not {value!r}") from error
