"""The measurements as a picture: time over length, and rate over threads; needs matplotlib."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from bge_cpu.bench import Measured
from bge_cpu.errors import InputError

_COLOURS = {
    "native-int8": "#c2413b",
    "onnx-int8": "#2e9e5b",
    "onnx": "#1f6fb2",
    "bf16": "#d98a1c",
    "int8": "#8a4fbf",
    "fp32": "#9aa5b1",
}


def draw(results: Sequence[Measured], file: Path, *, title: str) -> None:
    """Draw both panels and save the picture.

    Args:
        results: At least one that ran.
        file: Where to; its suffix says how: .svg or .png.
        title: What stands above.

    Raises:
        InputError: The file cannot be written.
    """
    ran = [result for result in results if result.refused is None]
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for result in ran:
        colour = _COLOURS.get(result.mode, "#444444")
        left.plot(*zip(*sorted(result.ms_by_length.items()), strict=True), "o-", color=colour, label=result.mode)
        right.plot(*zip(*sorted(result.rate_by_threads.items()), strict=True), "o-", color=colour)
    _dress(left, ran[0].ms_by_length, "tokens of a pair", "milliseconds per pair")
    left.set_title("lower is better", fontsize=9)
    left.set_yscale("log")
    left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter(ScalarFormatter())
    left.yaxis.set_minor_formatter(NullFormatter())
    _dress(right, ran[0].rate_by_threads, "threads", f"pairs per second, {ran[0].rate_length} tokens each")
    right.set_title("higher is better", fontsize=9)
    right.set_ylim(bottom=0)
    figure.suptitle(title, fontsize=10)
    figure.legend(loc="outside lower center", ncols=len(ran), frameon=False)
    try:
        figure.savefig(file, dpi=150)
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}") from error


def _dress(axes: Axes, places: Iterable[int], x: str, y: str) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted(places), [str(place) for place in sorted(places)])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
