"""The options that verbs share, and how their Reranker is loaded."""

from typing import Annotated

import typer

from bge_cpu.engines import DEFAULT_MODE, EXTRAS

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
