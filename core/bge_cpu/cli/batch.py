"""`bge-cpu batch`: a whole file of rows reranked into a folder, in shards; killed or not, the same command goes on."""

import importlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress as Bar
from rich.progress import TextColumn, TimeRemainingColumn
from typer.core import TyperCommand

from bge_cpu.batch import DEFAULT_SHARD_SIZE, Progress, rerank
from bge_cpu.batch.dry import Estimate, estimate
from bge_cpu.batch.job import Workers
from bge_cpu.cli.options import LoadOptions, loads_a_model
from bge_cpu.cli.output import progress_bar, tell_empty_lines
from bge_cpu.cli.rank import LongDocuments, Normalize
from bge_cpu.errors import InputError

_LINE_EVERY = 30.0  # seconds, where stderr is no terminal


class RayTakesAnAddress(TyperCommand):
    """`--ray` alone stands for `--ray auto`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a bare --ray its address."""
        for place in range(len(args) - 1, -1, -1):
            if args[place] == "--ray" and (place + 1 == len(args) or args[place + 1].startswith("-")):
                args.insert(place + 1, "auto")
        return super().parse_args(ctx, args)


@loads_a_model()
def batch(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help='JSON lines {"query", "documents"}, a Parquet file, or a TREC run.')
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder of the results, made if need be.")],
    corpus: Annotated[Path | None, typer.Option("--corpus", help="A TREC run's documents, as JSON lines.")] = None,
    queries: Annotated[Path | None, typer.Option("--queries", help="A TREC run's queries, as JSON lines.")] = None,
    top_n: Annotated[
        int | None, typer.Option("--top-n", "-n", help="Results per row; default: all.", show_default=False)
    ] = None,
    normalize: Annotated[Normalize, typer.Option("--normalize", help="What scores mean.")] = Normalize.sigmoid,
    long_documents: Annotated[
        LongDocuments, typer.Option("--long-documents", help="Cut what is beyond max_length, or read it in windows.")
    ] = LongDocuments.truncate,
    shard_size: Annotated[
        int, typer.Option("--shard-size", help="Rows per shard: what a kill costs at most.")
    ] = DEFAULT_SHARD_SIZE,
    processes: Annotated[
        int | None,
        typer.Option("--processes", help="Processes, or with --ray actors; default: 1.", show_default=False),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="End at the first bad row.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read all, count tokens, estimate the time; write nothing.")
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="[ADDRESS]",
            help="On a Ray cluster: its address, or none for the one at hand, else a local one.",
            show_default=False,
        ),
    ] = None,
    *,
    options: LoadOptions,
) -> None:
    """Rerank a file of rows into a folder, in shards; started again, it goes on from those that are done."""
    keywords = options.keywords()
    what: dict[str, Any] = {"corpus": corpus, "queries": queries, "long_documents": long_documents.value}
    if dry_run:
        with progress_bar(TextColumn("{task.fields[figures]}")) as bar:
            found = estimate(source, **what, load=keywords, strict=strict, tell=_counted(bar))
        _show(found)
        return
    how = None if normalize is Normalize.none else normalize.value
    workers: Workers | None = None
    if ray is not None:
        on_ray = importlib.import_module("bge_cpu.ray.workers")  # only now: it brings Ray along
        workers = on_ray.RayWorkers(None if ray == "auto" else ray, actors=processes)
    with progress_bar(TextColumn("{task.fields[figures]}"), TimeRemainingColumn(compact=True)) as bar:
        done = rerank(
            source,
            out,
            **what,
            **keywords,
            top_n=top_n,
            normalize=how,
            shard_size=shard_size,
            processes=1 if ray is not None else processes or 1,
            strict=strict,
            workers=workers,
            tell=_told(bar),
        )
    _say(done, out, options.longest_pair() if done.cut else 0)


def _told(bar: Bar) -> Callable[[Progress], None]:
    """A callback that moves the bar; where there is none, it prints a line at the start and now and then."""
    start = time.monotonic()
    last = 0.0
    task = bar.add_task("batch", total=None, figures="")

    def tell(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        figures = f"{progress.done:,} of {progress.rows:,} rows, {progress.pairs / max(now - start, 1e-3):,.1f} pairs/s"
        bar.update(task, total=progress.rows, completed=progress.done, figures=figures)
        if bar.disable and not last:
            last = now
            typer.echo(f"{progress.rows:,} rows, {progress.done:,} of them done", err=True)
        elif bar.disable and now - last > _LINE_EVERY:
            last = now
            new = progress.done - progress.before
            left = (progress.rows - progress.done) * (now - start) / new if new else 0
            typer.echo(f"{figures}, {_duration(left)} left", err=True)

    return tell


def _counted(bar: Bar) -> Callable[[Estimate], None]:
    task = bar.add_task("reading", total=None, figures="")

    def tell(found: Estimate) -> None:
        bar.update(task, figures=f"{found.pairs:,} pairs, {found.tokens:,} tokens")

    return tell


def _say(done: Progress, out: Path, max_length: int) -> None:
    results, errors = out / "results.jsonl", out / "errors.jsonl"
    with errors.open(encoding="utf-8") as stream:
        first = stream.readline()
        bad = sum(1 for _ in stream) + bool(first)
    earlier = f", {done.before:,} of them done before" if done.before else ""
    typer.echo(f"{results}: {done.rows:,} rows{earlier}; {done.pairs:,} pairs scored")
    tell_empty_lines(done.empty)
    if bad and not results.stat().st_size:
        raise _all_bad(f"they stand in {errors}; the first: {json.loads(first)['reason']}")
    if bad:
        rows = "a bad row stands" if bad == 1 else f"{bad:,} bad rows stand"
        typer.echo(f"warning: {rows} in {errors}, with the reason", err=True)
    if done.cut:
        typer.echo(f"warning: cut to max_length={max_length} tokens: {done.cut:,} of the results", err=True)


def _show(found: Estimate) -> None:
    typer.echo(f"{found.rows:,} rows, {found.pairs:,} pairs, {found.tokens:,} tokens")
    tell_empty_lines(found.empty)
    if found.windows > found.pairs:
        typer.echo(f"{found.windows:,} windows")
    if found.windows:
        typer.echo(f"{found.tokens / found.windows:,.0f} tokens per run of the model; {found.cut:,} are cut")
    if found.first_bad:
        number, reason = found.first_bad
        typer.echo(f"{found.bad:,} bad rows; the first is row {number}: {reason}")
        if found.bad + found.empty == found.rows:
            raise _all_bad(f"the first: {reason}")
    if found.seconds is not None:
        typer.echo(f"about {_duration(found.seconds)} on this machine")


def _all_bad(details: str) -> InputError:
    return InputError(
        f"no row is good; {details}",
        hint='a row is {"query": ..., "documents": [...]}; a query and a file of passages are for bge-cpu rank --file',
    )


def _duration(seconds: float) -> str:
    """Seconds as a person says them: 45 s, 12 min, 3.5 h, 2.1 days."""
    for unit, size, below in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < below:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 86_400:.3g} days"
