"""`bge-cpu bench`: which mode is the fastest on this machine, and the time and memory that each takes.

Every mode is measured in a child process of its own (`child.py`), one after the other, so that its memory is its own;
and where an INT8 artifact may have to be built and checked, another child does that before.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bge_cpu.engines import INT8_MODES
from bge_cpu.machine import children
from bge_cpu.machine.load import Others

Progress = Callable[[str], None]

MOST_OTHERS = 0.1
"""The share of the CPUs that other processes may take before figures are worthless."""


@dataclass
class Measured:
    """The time and memory that a mode took.

    Attributes:
        mode: Its name.
        load_seconds: From starting Python to the first score.
        peak_gb: Peak resident memory (VmHWM), in units of 1e9 bytes; None where the system does not tell.
        ms_by_length: Milliseconds per pair by the pair's tokens, on all threads.
        rate_by_threads: Pairs per second by threads, at `rate_length` tokens.
        rate_length: The tokens of the pairs that the rates were measured with.
        others_share: Which share of the CPUs other processes took meanwhile, 0..1; None where the system does not tell.
        refused: Why it could not run; all else is empty then.
    """

    mode: str
    load_seconds: float = 0.0
    peak_gb: float | None = None
    ms_by_length: dict[int, float] = field(default_factory=dict)
    rate_by_threads: dict[int, float] = field(default_factory=dict)
    rate_length: int = 0
    others_share: float | None = None
    refused: str | None = None

    @property
    def ms(self) -> float:
        """Milliseconds per pair at the length nearest to a usual passage's."""
        return self.ms_by_length[usual(list(self.ms_by_length))]


def usual(lengths: Sequence[int]) -> int:
    """The length nearest to that of a usual passage, 256 tokens."""
    return min(lengths, key=lambda length: abs(length - 256))


def measure(
    mode: str,
    options: dict[str, Any],
    *,
    lengths: Sequence[int],
    threads: Sequence[int],
    seconds: float,
    runs: int,
    progress: Progress,
) -> Measured:
    """Measure a mode in a child process; one that cannot run says why in `refused`.

    Args:
        mode: Its name.
        options: Further keywords of `Reranker.load`, all plain values.
        lengths: Tokens per pair to measure at.
        threads: Numbers of threads to measure with, the largest of them for the lengths, too.
        seconds: How long each point is measured at least.
        runs: How often each point is measured at least.
        progress: Told of each point that is done.
    """
    task = {"mode": mode, "options": options, "lengths": lengths, "threads": threads, "seconds": seconds, "runs": runs}
    found = Measured(mode)
    if mode in INT8_MODES:
        _run(task | {"lengths": []}, found, progress)
    if found.refused is None:
        others = Others()
        _run(task, found, progress)
        found.others_share = others.share()
    return found if found.refused is None else Measured(mode, refused=found.refused)


def _run(task: dict[str, Any], found: Measured, progress: Progress) -> None:
    """Let a child do a task, and note what it tells."""
    try:
        with contextlib.closing(children.answers("bge_cpu.bench.child", task)) as points:
            for point in points:
                _note(found, point)
                progress(point["point"])
    except children.ChildFailed as error:
        found.refused = str(error)


def _note(found: Measured, point: dict[str, Any]) -> None:
    kind, value = point["point"], point["value"]
    if kind == "length":
        found.ms_by_length[point["at"]] = value
    elif kind == "threads":
        found.rate_by_threads[point["at"]] = value
        found.rate_length = point["length"]
    else:
        setattr(found, kind, value)


def disturbance(results: Sequence[Measured]) -> str:
    """How much other processes took of the CPUs while the modes were measured, at most, and what that means."""
    shares = {result.mode: result.others_share for result in results if result.others_share is not None}
    if not shares:
        return "Whether other processes ran meanwhile, this system does not tell."
    mode, share = max(shares.items(), key=lambda item: item[1])
    if share <= MOST_OTHERS:
        return f"Other processes took {share:.0%} of the CPUs at most."
    return (
        f"These figures are worthless: other processes took {share:.0%} of the CPUs while {mode} was measured. "
        "Stop them and measure again."
    )


def disturbed(results: Sequence[Measured]) -> bool:
    """Whether other processes took so much of the CPUs that the figures are worthless."""
    return any((result.others_share or 0) > MOST_OTHERS for result in results)


def recommendation(results: Sequence[Measured]) -> str:
    """What to use, in a sentence or two, from at least one mode that ran."""
    ran = [result for result in results if result.refused is None]
    if not ran:
        return "No mode could run here."
    best = min(ran, key=lambda result: result.ms)
    length = usual(list(best.ms_by_length))
    memory = "" if best.peak_gb is None else f", in {best.peak_gb:.2f} GB"
    words = f"Use mode={best.mode!r}: {1e3 / best.ms:,.1f} pairs of {length} tokens a second{memory}"
    baseline = max(ran, key=lambda result: result.ms)
    if baseline is not best:
        words += f", {baseline.ms / best.ms:.1f} times as fast as {baseline.mode!r}"
    return f"{words}."
