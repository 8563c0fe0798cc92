"""A report as a terminal shows it: a table, the differences in words, and what was left out."""

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from bge_cpu.display import Fitted
from bge_cpu.evaluation.bootstrap import Interval
from bge_cpu.evaluation.report import Report, System


def show(report: Report) -> Group:
    """The table of a report with its differences and notes."""
    queries = count(report.size, "query", "queries")
    queries = f"{report.queries:,} of {queries}" if report.queries < report.size else queries
    documents = count(report.documents, "document", "documents")
    title = Text(report.name, style="bold")
    title.append(f"  {queries} · {documents} · top {report.candidates} of {report.first_stage}", style="not bold")
    return Group(title, Fitted(_table(report)), *_differences(report), *_notes(report), "")


def cut_in_words(reports: Sequence[Report], max_length: int) -> list[str]:
    """For each mode, over all reports, how many pairs were cut to max_length; nothing of a mode that cut none."""
    lines = []
    for mode in [system.name for system in reports[0].systems[1:]] if reports else []:
        found = [system for report in reports for system in report.systems if system.name == mode]
        pairs, cut = sum(system.pairs for system in found), sum(system.pairs_cut for system in found)
        if cut:
            lines.append(f"{mode}: cut to max_length={max_length} tokens: {cut:,} of {pairs:,} pairs")
    return lines


def _table(report: Report) -> Table:
    view = Table(box=None, padding=(0, 1))
    view.add_column("")
    for name in report.systems[0].measures:
        view.add_column(name, justify="right")
    view.add_column("time per query", justify="right")
    for system in report.systems:
        cells = [
            Text(f"{found.mean:.4f}", style="bold" if _is_best(report, system, name) else "")
            for name, found in system.measures.items()
        ]
        view.add_row(Text(system.name), *cells, time_in_words(system.seconds_per_query))
    return view


def _is_best(report: Report, system: System, measure: str) -> bool:
    mean = system.measures[measure].mean
    return all(other.measures[measure].mean < mean for other in report.systems if other is not system)


def _differences(report: Report) -> list[Text]:
    first, *modes = report.systems
    pairs = [(system, first.name if system is modes[0] else modes[0].name) for system in modes]
    width = max((len(f"{system.name} − {other}") for system, other in pairs), default=0)
    return [_difference(system, other, width) for system, other in pairs]


def _difference(system: System, other: str, width: int) -> Text:
    name, found = next(iter(system.against[other].items()))
    label = f"{system.name} − {other}"
    return Text(
        f" {label.ljust(width)}  {name} {found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}], {in_words(found)}"
    )


def in_words(found: Interval) -> str:
    """What the interval of a difference says.

    >>> in_words(Interval(0.1, -0.1, 0.3))
    'no sure difference'
    """
    if found.low == found.high == 0:
        return "the same for every query"
    if found.low > 0:
        return "better"
    return "worse" if found.high < 0 else "no sure difference"


def time_in_words(seconds: float | None) -> str:
    """Seconds in a unit that suits them; nothing where they were not measured.

    >>> time_in_words(0.0123), time_in_words(12.3)
    ('12.3 ms', '12.3 s')
    """
    if seconds is None:
        return ""
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def count(number: int, one: str, many: str) -> str:
    """A number and what it counts, in words.

    >>> count(1, "query", "queries"), count(1200, "query", "queries")
    ('1 query', '1,200 queries')
    """
    return f"{number:,} {one if number == 1 else many}"


def _notes(report: Report) -> list[Text]:
    return [Text(f" {reason}: {number:,}", style="dim") for reason, number in report.notes.items()]
