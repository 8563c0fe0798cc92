"""`bge-cpu bench`: which mode is the fastest on this machine, in a table and a picture."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, TimeElapsedColumn
from rich.table import Table

from bge_cpu.bench import Measured, disturbance, disturbed, measure, recommendation
from bge_cpu.checkpoint import open_checkpoint
from bge_cpu.cli.options import LoadOptions, loads_a_model
from bge_cpu.cli.output import JsonFile, check_outputs, on_stdout, progress_bar, write_json
from bge_cpu.display import Fitted
from bge_cpu.engines import MODES, check_mode
from bge_cpu.errors import BgeCpuError
from bge_cpu.evaluation.first_stage import needs_extra
from bge_cpu.inputs import fit_max_length
from bge_cpu.machine.cpu import available_cpus

_LENGTHS = (32, 64, 128, 256, 512)
_QUICK_LENGTHS = (32, 256)


@loads_a_model("mode", "threads")
def bench(
    modes: Annotated[
        list[str] | None,
        typer.Option("--mode", help=f"{', '.join(MODES)}; repeatable; default: all.", show_default=False),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer points, shorter.")] = False,
    chart: Annotated[Path | None, typer.Option("--chart", help="Draw the figures: a .svg or .png file.")] = None,
    json_file: JsonFile = None,
    *,
    options: LoadOptions,
) -> None:
    """Measure every mode on this machine: time over length, rate over threads, memory, and which to use.

    Leave the machine alone meanwhile: what else runs is measured, too.
    """
    chosen = [check_mode(mode) for mode in dict.fromkeys(modes or MODES)]
    check_outputs(json_file, chart)
    draw = None if chart is None else needs_extra("bge_cpu.bench.chart").draw
    keywords = {name: value for name, value in options.keywords().items() if name not in ("mode", "threads")}
    checkpoint = open_checkpoint(options.model, revision=options.revision, local_files_only=options.local_files_only)
    keywords["local_files_only"] = True  # what was not here is now
    keywords["cache_dir"] = None if options.cache_dir is None else str(options.cache_dir)
    longest = fit_max_length(options.max_length, checkpoint.max_length, checkpoint.name)
    lengths = [length for length in (_QUICK_LENGTHS if quick else _LENGTHS) if length <= longest] or [longest]
    threads = _thread_counts(quick=quick)
    results = []
    with progress_bar(MofNCompleteColumn(), TimeElapsedColumn()) as bar:
        task = bar.add_task("", total=len(chosen) * (len(lengths) + len(threads) + 2))
        for number, mode in enumerate(chosen, 1):
            bar.update(task, description=mode)
            results.append(
                measure(
                    mode,
                    keywords,
                    lengths=lengths,
                    threads=threads,
                    seconds=0.0 if quick else 2.0,
                    runs=1 if quick else 3,
                    progress=lambda point: bar.advance(task),
                )
            )
            bar.update(task, completed=number * (len(lengths) + len(threads) + 2))
    write_json([asdict(result) for result in results], json_file)
    if not on_stdout(json_file):
        _print(results)
    elif disturbed(results):
        typer.echo(f"warning: {disturbance(results)}", err=True)
    if all(result.refused is not None for result in results):
        raise BgeCpuError("no mode could run", hint="bge-cpu doctor says what is missing")
    if draw is not None and chart is not None:
        draw(results, chart, title=f"{checkpoint.name}, {available_cpus()} CPUs")


def _print(results: list[Measured]) -> None:
    console = Console(highlight=False)
    ran = [result for result in results if result.refused is None]
    if ran:
        console.print(Fitted(_table(ran)))
        rates = f"pairs/s: at {ran[0].rate_length} tokens, on all CPUs and on one"
        console.print(f"Milliseconds per pair by its tokens; {rates}; start: to the first score.", style="dim")
    for result in results:
        if result.refused is not None:
            console.print(f"{result.mode}: {result.refused}", markup=False, soft_wrap=True)
    console.print(recommendation(results))
    console.print(disturbance(results), style="bold red" if disturbed(results) else "dim")


def _thread_counts(*, quick: bool) -> list[int]:
    """1, 2, 4 ... and all CPUs; in haste 1 and all."""
    most = available_cpus()
    doubled = [2**power for power in range(most.bit_length()) if 2**power < most]
    return sorted({*(doubled[:1] if quick else doubled), most})


def _table(ran: list[Measured]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("mode", style="bold")
    columns = [f"{length} tokens" for length in sorted(ran[0].ms_by_length)]
    for column in [*columns, "pairs/s", "one thread", "peak GB", "start s"]:
        table.add_column(column, justify="right")
    for result in sorted(ran, key=lambda result: result.ms):
        rates = result.rate_by_threads
        table.add_row(
            result.mode,
            *(f"{ms:,.1f}" for _, ms in sorted(result.ms_by_length.items())),
            f"{rates[max(rates)]:,.1f}",
            f"{rates[1]:,.1f}" if 1 in rates else "",
            "" if result.peak_gb is None else f"{result.peak_gb:.2f}",
            f"{result.load_seconds:.1f}",
        )
    return table
