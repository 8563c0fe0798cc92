"""`bge-cpu verify`: is INT8 good enough here, on one's own queries and documents?"""

import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bge_cpu.checkpoint import open_checkpoint
from bge_cpu.cli.evaluate import loaders
from bge_cpu.cli.options import LoadOptions, loads_a_model
from bge_cpu.cli.output import JsonFile, check_outputs, on_stdout, progress_bar, tell_empty_lines, told, write_json
from bge_cpu.display import Fitted
from bge_cpu.engines import MODES, check_mode, default_mode
from bge_cpu.errors import InputError
from bge_cpu.evaluation import Agreement, Collection, Task, agreement, prepare, read
from bge_cpu.evaluation.agreement import EMPTY_LINES, PROBE, TOPS, all_if_few, from_files, probe
from bge_cpu.evaluation.reranking import rerank_all
from bge_cpu.evaluation.tables import count
from bge_cpu.inputs import check_count

_MODES = f"{', '.join(MODES)}; repeatable; default: the fastest here."
_LINES = "one per line, or .jsonl with a field text"


@loads_a_model("mode")
def verify(
    folder: Annotated[
        Path | None, typer.Argument(help="A set in BEIR's layout, judged or not; default: the built-in probe.")
    ] = None,
    queries: Annotated[Path | None, typer.Option("--queries", help=f"Your queries: {_LINES}.")] = None,
    documents: Annotated[Path | None, typer.Option("--documents", help=f"Your documents: {_LINES}.")] = None,
    candidates: Annotated[
        int, typer.Option("--candidates", help="Documents per query at most: BM25's best, where there are more.")
    ] = 30,
    sample: Annotated[int, typer.Option("--sample", help="Queries at most, evenly spread over those given.")] = 50,
    modes: Annotated[list[str] | None, typer.Option("--mode", help=_MODES, show_default=False)] = None,
    reference: Annotated[str, typer.Option("--reference", help="The mode that the others are held to.")] = "onnx",
    json_file: JsonFile = None,
    *,
    options: LoadOptions,
) -> None:
    """Tell whether INT8 ranks like float32 here, on the probe or your own texts; exit code 1 means it does not.

    Good enough is a mode whose Spearman rank correlation with the reference, over all pairs, reaches --min-fidelity.
    """
    check_outputs(json_file)
    check_count(sample, "--sample")
    least = options.least_fidelity()
    others = list(dict.fromkeys(check_mode(mode) for mode in modes or [default_mode()]))
    _check_modes(options, check_mode(reference), others)
    collection = all_if_few(_collection(folder, queries, documents), candidates)
    tell_empty_lines(collection.notes.get(EMPTY_LINES, 0))
    task = prepare(collection, queries=sample, candidates=candidates)
    load = partial(options.load, min_fidelity=None)  # a gate would refuse what is to be measured
    modes_by_name = loaders(load, [reference, *others])
    with progress_bar() as bar:
        runs = rerank_all([task], modes_by_name, progress=told(bar))[task.name]
    truncated, pairs = runs[reference].truncated_pairs, runs[reference].pairs
    found = {mode: agreement(runs[reference].run, runs[mode].run) for mode in others}
    verdicts = {mode: None if least is None else found[mode].spearman >= least for mode in others}
    answer = {"model": options.model, "reference": reference, "data": task.name, "min_fidelity": least}
    rows = [{"mode": mode, "good_enough": verdicts[mode]} | _plain(found[mode]) for mode in others]
    write_json(answer | {"notes": dict(task.notes), "modes": rows}, json_file)
    if not on_stdout(json_file):
        _print(options.model, reference, task, pairs, found, least)
    if truncated:
        cut = f"cut to max_length={options.longest_pair()} tokens, in every mode: {truncated:,} of {pairs:,} pairs"
        typer.echo(f"warning: {cut}", err=True)
    if False in verdicts.values():
        raise typer.Exit(1)


def _check_modes(options: LoadOptions, reference: str, others: list[str]) -> None:
    if reference in others:
        raise InputError(f"mode {reference!r} is the reference; compare it with another mode")
    checkpoint = open_checkpoint(options.model, revision=options.revision, local_files_only=options.local_files_only)
    if checkpoint.exported_mode is not None:
        raise InputError(
            f"{checkpoint.name} was exported for mode {checkpoint.exported_mode!r} alone, so there is nothing to "
            "compare it with",
            hint="verify the checkpoint that it was exported from",
        )


def _collection(folder: Path | None, queries: Path | None, documents: Path | None) -> Collection:
    """The texts: from the folder, from the two files, or else the built-in probe."""
    if folder is not None:
        if queries is not None or documents is not None:
            raise InputError("texts come from a folder or from --queries and --documents, not both")
        return read(folder, judged=False)
    if queries is None and documents is None:
        return probe()
    if queries is None or documents is None:
        raise InputError("--queries and --documents go together: each query is ranked against the documents")
    return from_files(queries, documents)


def _plain(found: Agreement) -> dict[str, Any]:
    """The figures for JSON, which has no nan."""
    return asdict(found) | {"spearman": None if math.isnan(found.spearman) else found.spearman}


def _print(
    model: str,
    reference: str,
    task: Task,
    pairs: int,
    found: Mapping[str, Agreement],
    least: float | None,
) -> None:
    console = Console(highlight=False)
    console.print(Text(f"{model} against {reference}", style="bold"))
    console.print(
        Text(f"{task.name}: {count(len(task.queries), 'query', 'queries')}, {count(pairs, 'pair', 'pairs')}\n")
    )
    console.print(Fitted(_table(found)))
    for reason, number in task.notes.items():
        console.print(Text(f" {reason}: {number:,}", style="dim"))
    for mode, figures in found.items():
        console.print(_verdict(mode, figures, reference, least))
    if least is not None:
        console.print(
            Text(f" good enough: a Spearman of at least {least} over all pairs (--min-fidelity)", style="dim")
        )
    if task.name == PROBE:
        console.print(Text(" your own texts tell more: --queries FILE --documents FILE", style="dim"))


def _table(found: Mapping[str, Agreement]) -> Table:
    view = Table(box=None, padding=(0, 1))
    view.add_column("")
    for mode in found:
        view.add_column(mode, justify="right")
    each = list(found.values())
    view.add_row("Spearman of all pairs", *(f"{figures.spearman:.4f}" for figures in each))
    for top in TOPS:
        shares = (figures.overlap[top] for figures in each)
        view.add_row(f"shared of a query's best {top}", *("-" if share is None else f"{share:.1%}" for share in shares))
    view.add_row(
        "queries with another first place", *(f"{figures.first_changed} of {figures.queries}" for figures in each)
    )
    view.add_row("largest shift of a logit", *(f"{figures.largest_logit:.3f}" for figures in each))
    view.add_row("mean shift of a logit", *(f"{figures.mean_logit:.3f}" for figures in each))
    view.add_row("largest shift of a score (sigmoid)", *(f"{figures.largest_score:.3f}" for figures in each))
    view.add_row("mean shift of a score", *(f"{figures.mean_score:.3f}" for figures in each))
    return view


def _verdict(mode: str, found: Agreement, reference: str, least: float | None) -> Text:
    if least is None:
        return Text(f" {mode}: no verdict, for --min-fidelity is none")
    if math.isnan(found.spearman):
        return Text(f" ✗ {mode} cannot be judged: its logits, or those of {reference}, are all the same", style="red")
    queries = count(found.queries, "query", "queries")
    seen = f"another first place in {found.first_changed} of {queries}, Spearman {found.spearman:.4f}"
    if found.spearman >= least:
        return Text(f" ✓ {mode} is good enough: {seen}", style="green")
    return Text(f" ✗ {mode} is not good enough: {seen}; stay with {reference}", style="red")
