"""What a child process of the bench does: measure one mode, point by point.

Told of no length, it loads the mode and that is all: what has to be built once is built.
"""

import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bge_cpu.bench import usual
from bge_cpu.quantization.probe import PAIRS
from bge_cpu.reranker import Reranker


def answers(task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Measure every point of a task, one after the other."""

    def point(kind: str, value: float | None, **more: Any) -> dict[str, Any]:
        return {"point": kind, "value": value, **more}

    def load(threads: int) -> Reranker:
        return Reranker.load(mode=task["mode"], threads=threads, **task["options"])

    def seconds_per_pair(pair: tuple[str, str], threads: int) -> float:
        pairs = [pair] * 2 * threads
        return seconds(reranker, pairs, least=task["seconds"], runs=task["runs"]) / len(pairs)

    lengths, (most, *fewer) = task["lengths"], sorted(task["threads"], reverse=True)
    reranker = load(most)
    if not lengths:
        return
    reranker.score(PAIRS[:1])
    yield point("load_seconds", time.time() - _started())
    pairs = {length: pair_of(reranker, length) for length in lengths}
    times = {}
    for length in lengths:
        times[length] = seconds_per_pair(pairs[length], most)
        yield point("length", 1e3 * times[length], at=length)
    yield point("peak_gb", _peak_gb())
    length = usual(lengths)
    yield point("threads", 1 / times[length], at=most, length=length)
    for number in fewer:
        del reranker  # else both would be in memory
        reranker = load(number)
        yield point("threads", 1 / seconds_per_pair(pairs[length], number), at=number, length=length)


def pair_of(reranker: Reranker, tokens: int) -> tuple[str, str]:
    """A pair of real text, Chinese and English, as near to `tokens` tokens as its end allows, and not above."""
    query = PAIRS[0][0]
    text = " ".join(document for _, document in PAIRS) * 20
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        (pair,) = reranker.tokenizer.encode([(query, text[:middle])])
        if len(pair) + pair.truncated_tokens <= tokens:
            low = middle
        else:
            high = middle - 1
    return query, text[:low]


def seconds(reranker: Reranker, pairs: Sequence[tuple[str, str]], *, runs: int, least: float = 0.0) -> float:
    """The median time of scoring the pairs, over at least `least` seconds and `runs` runs after a first one of half."""
    reranker.score(pairs[: (len(pairs) + 1) // 2])
    times: list[float] = []
    while len(times) < runs or sum(times) < least:
        start = time.perf_counter()
        reranker.score(pairs)
        times.append(time.perf_counter() - start)
    return median(times)


def _started() -> float:
    """When this process began, as time.time() counts; where the system does not tell, when it got here."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return time.time() - uptime + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return _HERE


def _peak_gb() -> float | None:
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        return None
    return int(found[1]) * 1024 / 1e9 if found else None


_HERE = time.time()
