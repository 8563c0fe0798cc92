"""A report as a picture: nDCG@10 of the first stage and each mode, set by set; needs matplotlib."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bge_cpu.errors import InputError
from bge_cpu.evaluation.report import Report
from bge_cpu.evaluation.tables import count

_MEASURE = "nDCG@10"
_COLOURS = ("#9aa5b1", "#1f6fb2", "#2e9e5b", "#d98a1c", "#8a4fbf", "#c2413b")  # grey for the first stage
_ROOM = 0.8  # of the unit between sets that bars take


def draw(reports: Sequence[Report], file: Path, *, title: str) -> None:
    """Draw the means of nDCG@10 as bars, with their intervals, and save the picture.

    Args:
        reports: At least one, of the same modes.
        file: Where to; its suffix says how: .svg or .png.
        title: What stands above it.

    Raises:
        InputError: The file cannot be written.
    """
    systems = len(reports[0].systems)
    figure = Figure(figsize=(max(6.0, 1.0 + max(1.4, 0.55 * systems) * len(reports)), 4.2), layout="constrained")
    axes = figure.add_subplot()
    width = _ROOM / systems
    for place in range(systems):
        found = [report.systems[place].measures[_MEASURE] for report in reports]
        names = {report.systems[place].name for report in reports}
        centres = [index + (place - (systems - 1) / 2) * width for index in range(len(reports))]
        axes.bar(
            centres,
            [each.mean for each in found],
            width * 0.92,
            yerr=[[each.mean - each.low for each in found], [each.high - each.mean for each in found]],
            error_kw={"ecolor": "#333333", "elinewidth": 0.8, "capsize": 2},
            color=_COLOURS[place % len(_COLOURS)],
            label=names.pop() if len(names) == 1 else "first stage",
        )
        for centre, each in zip(centres, found, strict=True):
            axes.annotate(
                f"{each.mean:.3f}", (centre, each.high), (0, 3), textcoords="offset points", ha="center", fontsize=8
            )
    _dress(axes, reports)
    figure.suptitle(title, fontsize=10)
    figure.legend(loc="outside lower center", ncols=systems, frameon=False)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a set's name in a script that the font lacks
            figure.savefig(file, dpi=150)
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}") from error


def _dress(axes: Axes, reports: Sequence[Report]) -> None:
    axes.set_xticks(
        range(len(reports)), [f"{report.name}\n{count(report.queries, 'query', 'queries')}" for report in reports]
    )
    margin = max(0.55, 1.6 - 0.5 * len(reports))  # a few bars alone would be as wide as the picture
    axes.set_xlim(-margin, len(reports) - 1 + margin)
    axes.set_ylabel(f"{_MEASURE}, 95 % interval")
    axes.set_ylim(0, 1.08)
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)
