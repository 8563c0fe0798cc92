"""What was measured: as figures, as tables, and as a picture."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot
from rich import box
from rich.console import Console
from rich.table import Table

from contest.contenders import BASELINE, OURS

BUSY = 0.05  # of the CPUs; more than that taken by others spoils a round
OURS_COLOUR, COLOUR = "#c44e1d", "#aab4be"
WIDTH = 120
COLUMNS = {
    "ms_per_pair": ("ms/pair", ",.1f"),
    "pairs_per_second": ("pairs/s", ",.2f"),
    "times_as_fast": ("times", ".2f"),
    "peak_gb": ("GB", ".2f"),
    "anon_gb": ("anon", ".2f"),
    "load_seconds": ("load", ".1f"),
    "megabytes": ("MB", ",.0f"),
    "largest_difference": ("diff", ".0e"),
    "spearman": ("Spearman", ".4f"),
    "ndcg": ("nDCG@10", ".4f"),
    "others_share": ("others", ".0%"),
}
LEGEND = f"""\
times: as fast as {BASELINE}. GB: the peak of resident memory (VmHWM), of a fresh start or in this work, with what
was mapped of files; anon: without that, after the last round. load: seconds from starting the interpreter to the first
scores. MB: installed in the contender's environment. diff: the largest difference of a logit to {BASELINE}'s. others:
the share of the CPUs that other processes took in the worst round; above {BUSY:.0%} (!) run again."""
FIDELITY = "Spearman: correlation with article-fp32's scores of 1,000 pairs. nDCG@10: candidates of trec_dl19 reranked."


def show(results: dict[str, Any]) -> None:
    """Print a table for each work, then what concerns all of them."""
    console = Console()
    console.width = max(console.width, WIDTH)
    for name, work in results["works"].items():
        rows = [(who, found | found["works"][name]) for who, found in contenders(results, name)]
        if rows:
            console.print("", f"[bold]({name})[/] {title(work)}", table(rows), sep="\n")
    print(LEGEND)
    if any("spearman" in found for found in results["contenders"].values()):
        print(FIDELITY)
    for who, found in results["contenders"].items():
        if found["note"]:
            print(f"{who}: {found['note']}.")
    for line in ceilings(results):
        print(line)
    for who, reason in results["failed"].items():
        print(f"{who} FAILED: {reason}")


def ceilings(results: dict[str, Any]) -> list[str]:
    """How much of the machine's best products our modes reach on the first work."""
    lines = []
    for kind, mode in (("int8", "native-int8"), ("int8", "onnx-int8"), ("fp32", "onnx")):
        found = results["contenders"].get(mode, {"works": {}})["works"].get("a")
        if found and results["gemm"]:
            rate, best = found["gops"], results["gemm"][kind]
            lines.append(f"{mode} on (a): {rate:,.0f} of {best:,.0f} GOP/s: {rate / best:.0%} of the GEMM ceiling.")
    return lines


def contenders(results: dict[str, Any], work: str) -> list[tuple[str, dict[str, Any]]]:
    """Those with figures for a work, the fastest first."""
    found = [item for item in results["contenders"].items() if work in item[1]["works"]]
    return sorted(found, key=lambda item: item[1]["works"][work]["ms_per_pair"])


def table(rows: list[tuple[str, dict[str, Any]]]) -> Table:
    """The contenders' figures; ours are bold."""
    view = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    columns = {key: column for key, column in COLUMNS.items() if any(row.get(key) is not None for _, row in rows)}
    view.add_column("")
    for heading, _ in columns.values():
        view.add_column(heading, justify="right")
    for who, row in rows:
        cells = ["" if row.get(key) is None else format(row[key], style) for key, (_, style) in columns.items()]
        cells[-1] += "!" if row["others_share"] > BUSY else " "
        view.add_row(who, *cells, style="bold" if who in OURS else "")
    return view


def title(work: dict[str, Any]) -> str:
    """What a work is, in words."""
    tokens = work["tokens"]
    least, most = tokens["min"], tokens["max"]
    length = f"{least} tokens" if least == most else f"{least}-{most} tokens, {tokens['mean']:.0f} on average"
    return f"{work['title']}; {length}"


def plot(results: dict[str, Any], file: Path) -> None:
    """Draw how many times as fast as the baseline each contender is, a panel for each work."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bge-cpu", "font.size": 9})
    works = [name for name in results["works"] if contenders(results, name)]
    size = (8, (0.6 + 0.24 * len(results["contenders"])) * len(works) + 0.4)
    figure, panels = pyplot.subplots(len(works), 1, figsize=size, squeeze=False, layout="constrained")
    for panel, name in zip(panels[:, 0], works, strict=True):
        rows = [(who, found["works"][name]) for who, found in reversed(contenders(results, name))]
        times = [row["times_as_fast"] or 0 for _, row in rows]
        colours = [OURS_COLOUR if who in OURS else COLOUR for who, _ in rows]
        labels = [f"{row['times_as_fast'] or 0:.1f} ×  ({row['ms_per_pair']:,.1f} ms/pair)" for _, row in rows]
        panel.bar_label(panel.barh([who for who, _ in rows], times, color=colours), labels, padding=3)
        panel.set_title(f"({name}) {title(results['works'][name])}", loc="left", fontsize=10)
        panel.set(xlim=(0, 1.3 * max(times)), xticks=[])
        panel.spines[["top", "right", "bottom"]].set_visible(False)
        for label, (who, _) in zip(panel.get_yticklabels(), rows, strict=True):
            label.set_fontweight("bold" if who in OURS else "normal")
    name, found = results["checkpoint"]["name"], results["machine"]
    where = f"{name}, {found['cores']} cores of {found['cpu']}, {results['date']}"
    heading = f"Times as fast as the article's float32 script; bge-cpu's modes in colour\n{where}"
    figure.suptitle(heading, x=0.01, ha="left", fontsize=10)
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
    pyplot.close(figure)
