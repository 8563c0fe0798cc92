"""A child process of `--dry-run`: it loads the model and times it on some windows."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from bge_cpu.engines import TokenizedPair, thread_limit
from bge_cpu.machine.cpu import available_cpus
from bge_cpu.reranker import Reranker

_ENOUGH = 5.0  # seconds


def answers(task: dict[str, Any]) -> Iterator[dict[str, float]]:
    """How long scoring takes here: the windows, a few per thread at a time, for some seconds; these, and the tokens.

    Args:
        task: The keywords of `Reranker.load`, and each window's ids and token types.
    """
    windows = [TokenizedPair(np.array(ids, np.int64), np.array(types, np.int64), 0) for ids, types in task["windows"]]
    engine = Reranker.load(**task["load"]).engine
    size = 4 * (thread_limit(task["load"]["threads"]) or available_cpus())
    engine.logits(windows[:size])  # what is made at the first run does not count
    start, tokens = time.perf_counter(), 0
    for place in range(0, len(windows), size):
        some = windows[place : place + size]
        engine.logits(some)
        tokens += sum(map(len, some))
        if time.perf_counter() - start > _ENOUGH:
            break
    yield {"seconds": time.perf_counter() - start, "tokens": tokens}
