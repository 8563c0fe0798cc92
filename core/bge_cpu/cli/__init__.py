"""The command `bge-cpu`. Exit codes: 0 done, 1 failed, 2 wrong usage; an error is one line and a hint on stderr."""

import io
import logging
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, TextIO

import typer

import bge_cpu
from bge_cpu.cli import cache
from bge_cpu.cli.batch import RayTakesAnAddress, batch
from bge_cpu.cli.bench import bench
from bge_cpu.cli.demo import demo
from bge_cpu.cli.doctor import doctor
from bge_cpu.cli.evaluate import evaluate
from bge_cpu.cli.export import export
from bge_cpu.cli.rank import rank
from bge_cpu.cli.serve import serve
from bge_cpu.cli.verify import verify
from bge_cpu.errors import BgeCpuError, InputError

app = typer.Typer(
    name="bge-cpu",
    help="Rerank documents on plain CPUs with BAAI/bge-reranker-v2-m3 and its relatives.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(rank)
app.command(cls=RayTakesAnAddress)(batch)
app.command()(demo)
app.add_typer(cache.app)
app.command()(doctor)
app.command()(export)
app.command()(verify)
app.command()(evaluate)
app.command()(bench)
app.command()(serve)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"bge-cpu {bge_cpu.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Rerank documents on plain CPUs with BAAI/bge-reranker-v2-m3 and its relatives."""


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as a line of its own; a library's deprecations are not the user's to mend."""
    if issubclass(category, UserWarning):
        typer.echo(f"warning: {message}", err=True)


class _Aloud(logging.Handler):
    """Shows on stderr what the library logs: what a first start does once, and how long it takes."""

    def emit(self, record: logging.LogRecord) -> None:
        typer.echo(record.getMessage(), err=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    warnings.showwarning = _show_warning
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a character gets a question mark
            stream.reconfigure(errors="replace")
    log, aloud = logging.getLogger("bge_cpu"), _Aloud()
    log.addHandler(aloud)
    log.setLevel(logging.INFO)
    try:
        app(args=arguments)
    except (BgeCpuError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2 if isinstance(error, InputError) else 1)
    finally:
        log.removeHandler(aloud)
        log.setLevel(logging.NOTSET)
