"""`bge-cpu evaluate`: a model's modes over judged sets, against the first stage and against each other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, TimeRemainingColumn

from bge_cpu import evaluation
from bge_cpu.cli.options import LoadOptions, loads_a_model
from bge_cpu.cli.output import JsonFile, check_outputs, on_stdout, progress_bar, told, write_json
from bge_cpu.engines import MODES, check_mode
from bge_cpu.errors import InputError
from bge_cpu.evaluation import Report, Reranked, Task, write_trec
from bge_cpu.evaluation.bootstrap import LEVEL, SAMPLES, SEED
from bge_cpu.evaluation.first_stage import needs_extra
from bge_cpu.evaluation.tables import cut_in_words, show
from bge_cpu.inputs import check_count
from bge_cpu.reranker import Reranker

_MODES = f"{', '.join(MODES)}; repeatable, the others are held to the first; default: the fastest here."


@loads_a_model("mode", "min_fidelity")
def evaluate(
    folders: Annotated[list[Path], typer.Argument(help="Sets in BEIR's layout: corpus.jsonl, queries.jsonl, qrels.")],
    modes: Annotated[list[str] | None, typer.Option("--mode", help=_MODES, show_default=False)] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample", help="Queries per set at most, evenly spread over it; default: all.", show_default=False
        ),
    ] = None,
    candidates: Annotated[int, typer.Option("--candidates", help="How many per query are reranked at most.")] = 100,
    first_stage: Annotated[
        str | None,
        typer.Option(
            "--first-stage",
            help="File of each set with candidates, or bm25; default: candidates.tsv, .trec or .run, else bm25.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Which file of qrels/, where there is no qrels.tsv.")] = "test",
    min_grade: Annotated[
        int, typer.Option("--min-grade", help="Least grade of a relevant document for MRR, P and Recall.")
    ] = 1,
    json_file: JsonFile = None,
    runs: Annotated[Path | None, typer.Option("--runs", help="Folder for a TREC run file per set and mode.")] = None,
    chart: Annotated[Path | None, typer.Option("--chart", help="Draw nDCG@10 as bars: a .svg or .png file.")] = None,
    *,
    options: LoadOptions,
) -> None:
    """Measure how well a model ranks judged sets, in one or more modes, beside the first stage.

    INT8 loads whatever its fidelity: there is no gate where it is measured.
    """
    modes = [check_mode(mode) for mode in dict.fromkeys(modes or [])]
    check_outputs(json_file, chart)
    if sample is not None:
        check_count(sample, "--sample")
    if runs is not None:
        _make_folder(runs)
    needs_extra("bge_cpu.evaluation.measures")
    draw = None if chart is None else needs_extra("bge_cpu.evaluation.chart").draw
    tasks = []
    for folder in folders:
        collection = evaluation.read(folder, split=split, first_stage=first_stage)
        tasks.append(evaluation.prepare(collection, queries=sample, candidates=candidates))
    if runs is not None:
        _write_first_stages(tasks, runs)
    # Loaded before there is a bar: building an INT8 artifact shows one of its own.
    modes_by_name = loaders(partial(options.load, min_fidelity=None), modes)
    with progress_bar(MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        reports = evaluation.evaluate(
            tasks,
            modes_by_name,
            min_grade=min_grade,
            progress=told(bar),
            done=None if runs is None else partial(_write_run, runs),
        )
    figures = {
        "model": options.model,
        "max_length": options.longest_pair(),
        "min_grade": min_grade,
        "bootstrap": {"samples": SAMPLES, "level": LEVEL, "seed": SEED},
        "sets": [asdict(report) for report in reports],
    }
    if not on_stdout(json_file):
        _print(reports, min_grade=min_grade)
    write_json(figures, json_file)
    for line in cut_in_words(reports, options.longest_pair()):
        typer.echo(f"warning: {line}", err=True)
    if draw is not None:
        draw(reports, chart, title=_title(options.model))


def loaders(load: Callable[..., Reranker], modes: Sequence[str]) -> Mapping[str, Callable[[], Reranker]]:
    """What loads each mode; a mode that cannot run says so now, not after the others' work.

    Args:
        load: `Reranker.load`, but for the mode.
        modes: Which; none means the model's own or the default.
    """
    if len(modes) > 1:
        for mode in modes:
            load(mode=mode)
        return {mode: partial(load, mode=mode) for mode in modes}
    reranker = load(mode=modes[0] if modes else None)
    return {str(reranker.mode): lambda: reranker}


def _title(model: str) -> str:
    """What a chart says of the model."""
    return Path(model).resolve().name if Path(model).is_dir() else model


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}") from error


def _write_first_stages(tasks: Sequence[Task], folder: Path) -> None:
    for task in tasks:
        write_trec(task.run, _trec(folder, task.name, "first-stage"), tag=task.first_stage)


def _write_run(folder: Path, mode: str, name: str, reranked: Reranked) -> None:
    write_trec(reranked.run, _trec(folder, name, mode), tag=mode)


def _trec(folder: Path, name: str, system: str) -> Path:
    return folder / f"{name}.{system}.trec"


def _print(reports: Sequence[Report], *, min_grade: int) -> None:
    console = Console(highlight=False)
    console.print(*map(show, reports), sep="\n")
    lines = [f"[ ]: {LEVEL:.0%} interval over {SAMPLES:,} paired bootstrap samples of the queries"]
    if min_grade > 1:
        lines.append(f"MRR, P and Recall: documents of grade {min_grade} or more are relevant")
    console.print(*lines, sep="\n", markup=False, style="dim")
