"""A child process: it calls one function of one module of this folder, in an environment of its own.

    python -m contest.child MODULE FUNCTION    (from the folder `benchmarks`; JSON with the keyword arguments on stdin)

It answers in lines of JSON on stdout. If the function is `load`, its result scores lists of pairs: the child then
answers every further line on stdin, a list of calls, with the seconds they took, their scores and the memory used.
"""

import contextlib
import importlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

Pair = tuple[str, str]
Scorer = Callable[[Sequence[Pair]], Sequence[float]]


def serve(score: Scorer, answers: TextIO) -> None:
    """Answer each list of calls; the peak of memory is that since the last answer."""
    for line in sys.stdin:
        calls = [[(query, document) for query, document in call] for call in json.loads(line)]
        start = time.perf_counter()
        scores = [score(call) for call in calls]
        seconds = time.perf_counter() - start
        numbers = [float(number) for call in scores for number in call]
        print(json.dumps({"seconds": seconds, "scores": numbers} | memory()), file=answers)
        with contextlib.suppress(OSError):  # then the peak is that since the start
            Path("/proc/self/clear_refs").write_text("5")


def memory() -> dict[str, float]:
    """The peak of this process's resident memory, and what of it is no mapped file now, in 10^9 bytes."""
    status = dict(re.findall(r"(\w+):\s+(\d+) kB", Path("/proc/self/status").read_text()))
    return {"peak_gb": int(status["VmHWM"]) * 1024 / 1e9, "anon_gb": int(status["RssAnon"]) * 1024 / 1e9}


def main() -> None:
    """Call the function."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    module, name = sys.argv[1:]
    arguments: dict[str, Any] = json.loads(sys.stdin.readline())
    result = getattr(importlib.import_module(f"contest.{module}"), name)(**arguments)
    if name == "load":
        serve(result, answers)
    else:
        print(json.dumps(result), file=answers)


if __name__ == "__main__":
    main()
