"""`bge-cpu evaluate`: a model's modes over judged sets, against the first stage and against each other."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from bge_cpu import evaluation
from bge_cpu.cli.options import CacheDir, LocalFilesOnly, MaxLength, Model, Revision, Threads
from bge_cpu.engines import DEFAULT_MODE, EXTRAS, check_mode
from bge_cpu.errors import InputError
from bge_cpu.evaluation import Report, Reranked, Task, write_trec
from bge_cpu.evaluation.bootstrap import LEVEL, SAMPLES, SEED
from bge_cpu.evaluation.first_stage import needs_extra
from bge_cpu.evaluation.tables import cut_in_words, show
from bge_cpu.reranker import Reranker

_CHARTS = (".svg", ".png")
_MODES = f"{', '.join(EXTRAS)}; repeatable, the others are held to the first; default: {DEFAULT_MODE}."


def evaluate(
    folders: Annotated[list[Path], typer.Argument(help="Sets in BEIR's layout: corpus.jsonl, queries.jsonl, qrels.")],
    model: Model = "BAAI/bge-reranker-v2-m3",
    modes: Annotated[list[str] | None, typer.Option("--mode", help=_MODES, show_default=False)] = None,
    queries: Annotated[
        int | None,
        typer.Option(
            "--queries", help="How many per set at most, evenly spread over it; default: all.", show_default=False
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
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all figures there; - prints them instead of the tables.")
    ] = None,
    runs: Annotated[Path | None, typer.Option("--runs", help="Folder for a TREC run file per set and mode.")] = None,
    chart: Annotated[Path | None, typer.Option("--chart", help="Draw nDCG@10 as bars: a .svg or .png file.")] = None,
    max_length: MaxLength = 512,
    threads: Threads = None,
    revision: Revision = None,
    local_files_only: LocalFilesOnly = False,
    cache_dir: CacheDir = None,
) -> None:
    """Measure how well a model ranks judged sets, in one or more modes, beside the first stage.

    INT8 loads whatever its fidelity: there is no gate where it is measured.
    """
    modes = [check_mode(mode) for mode in dict.fromkeys(modes or [])]
    check_outputs(json_file, chart)
    if runs is not None:
        _make_folder(runs)
    needs_extra("bge_cpu.evaluation.measures")
    draw = None if chart is None else needs_extra("bge_cpu.evaluation.chart").draw
    tasks = []
    for folder in folders:
        collection = evaluation.read(folder, split=split, first_stage=first_stage)
        tasks.append(evaluation.prepare(collection, queries=queries, candidates=candidates))
    if runs is not None:
        _write_first_stages(tasks, runs)
    load = partial(
        Reranker.load,
        model,
        max_length=max_length,
        threads=threads,
        revision=revision,
        local_files_only=local_files_only,
        cache_dir=cache_dir,
        min_fidelity=None,
    )
    modes_by_name = loaders(load, modes)  # before the bar: building an INT8 artifact shows one of its own
    with progress_bar() as bar:
        reports = evaluation.evaluate(
            tasks,
            modes_by_name,
            min_grade=min_grade,
            progress=told(bar),
            done=None if runs is None else partial(_write_run, runs),
        )
    figures = {
        "model": model,
        "max_length": max_length,
        "min_grade": min_grade,
        "bootstrap": {"samples": SAMPLES, "level": LEVEL, "seed": SEED},
        "sets": [asdict(report) for report in reports],
    }
    if str(json_file) == "-":
        typer.echo(as_json(figures))
    else:
        _print(reports, min_grade=min_grade, max_length=max_length)
        if json_file is not None:
            json_file.write_text(as_json(figures) + "\n", encoding="utf-8")
    if draw is not None:
        draw(reports, chart, title=Path(model).resolve().name if Path(model).is_dir() else model)


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


def progress_bar() -> Progress:
    """A bar on stderr that goes when it is done; nothing where stderr is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


def told(bar: Progress) -> Callable[[str, str, int, int], None]:
    """What `evaluation.evaluate` tells, as bars: one per set and mode, the last one shown."""
    bars: dict[tuple[str, str], TaskID] = {}

    def tell(mode: str, name: str, done: int, total: int) -> None:
        if (mode, name) not in bars:
            for other in bars.values():
                bar.update(other, visible=False)
            bars[mode, name] = bar.add_task(f"{mode}: {name}", total=total)
        bar.update(bars[mode, name], completed=done)

    return tell


def as_json(figures: dict[str, Any]) -> str:
    """Figures as JSON, which has no nan."""
    return json.dumps(figures, ensure_ascii=False, indent=1, allow_nan=False)


def check_outputs(json_file: Path | None, chart: Path | None) -> None:
    """Refuse now what could not be written after the work.

    Raises:
        InputError: It names the file and what is wrong with it.
    """
    if chart is not None and chart.suffix.lower() not in _CHARTS:
        raise InputError(f"--chart is a file that ends in {' or '.join(_CHARTS)}, not {str(chart)!r}")
    for file in (json_file, chart):
        if file is not None and file.is_dir():
            raise InputError(f"{file} cannot be written: it is a folder")
        if file is not None and not file.parent.is_dir():
            raise InputError(f"{file} cannot be written: there is no folder {file.parent}")


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


def _print(reports: Sequence[Report], *, min_grade: int, max_length: int) -> None:
    console = Console(highlight=False)
    console.print(*map(show, reports), sep="\n")
    lines = [f"[ ]: {LEVEL:.0%} interval over {SAMPLES:,} paired bootstrap samples of the queries"]
    if min_grade > 1:
        lines.append(f"MRR, P and Recall: documents of grade {min_grade} or more are relevant")
    console.print(*lines, sep="\n", markup=False, style="dim")
    for line in cut_in_words(reports, max_length):
        typer.echo(f"warning: {line}", err=True)
