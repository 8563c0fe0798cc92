"""What the fast mode's time and memory depend on: python benchmarks/fast_path.py CHECKPOINT [--memory PAIRS].

Cost per token and the attention's share of it over the length of a pair, what a lone pair gains by all cores, what
Python and the tokenizer add to a pair, and how resident memory grows. All with `onnx-int8` as a user would load it,
without the gate. Times are medians, on one thread but where all cores are named.
"""

import argparse
import json
import random
import re
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast
from unittest import mock

import onnxruntime
from rich import box
from rich.console import Console
from rich.table import Table

from bge_cpu import Reranker
from bge_cpu.bench.child import pair_of, seconds
from bge_cpu.checkpoint import open_checkpoint
from bge_cpu.engines import onnx
from bge_cpu.machine.cpu import available_cpus
from bge_cpu.quantization.probe import PAIRS

LENGTHS, REFERENCE, RUNS = (32, 64, 128, 256, 512, 1024, 2048), 128, 5
MEMORY_AT = 500  # pairs


def attention_share(load: Callable[..., Reranker], length: int) -> float:
    """MultiHeadAttention's share of the time in kernels, as ONNX Runtime's profiler has it."""

    class Profiled(onnxruntime.SessionOptions):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.enable_profiling, self.profile_file_prefix = True, str(Path(folder, "profile"))

    with tempfile.TemporaryDirectory() as folder:
        with mock.patch.object(onnxruntime, "SessionOptions", Profiled):
            reranker = load(threads=1)
        pair = pair_of(reranker, length)
        for _ in range(RUNS):
            reranker.score([pair])
        events = json.loads(Path(cast(onnx.OnnxEngine, reranker.engine)._single.end_profiling()).read_text())
    runs = [event for event in events if event.get("name") == "model_run"]
    kernels = [event for event in events if event.get("name", "").endswith("_kernel_time")]
    spent: Counter[str] = Counter()
    for event in kernels:
        if event["ts"] >= runs[0]["ts"] + runs[0]["dur"]:  # the first run reads the weights
            spent[event["args"]["op_name"]] += event["dur"]
    return spent["MultiHeadAttention"] / spent.total()


def overhead(reranker: Reranker, pairs: list[tuple[str, str]]) -> float:
    """Seconds that a pair takes outside of ONNX Runtime: Python, tokenizer, queues."""
    inside: list[float] = []

    def timed(*arguments: Any) -> Any:
        start = time.perf_counter()
        logits = run(*arguments)
        inside.append(time.perf_counter() - start)
        return logits

    run = onnx.OnnxEngine._run
    with mock.patch.object(onnx.OnnxEngine, "_run", timed):
        reranker.score(pairs)
        inside.clear()
        start = time.perf_counter()
        reranker.score(pairs)
        return (time.perf_counter() - start - sum(inside)) / len(pairs)


def resident_mb() -> float:
    """Resident memory now, in 10^6 bytes."""
    (kilobytes,) = re.findall(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(kilobytes) * 1024 / 1e6


def growth(reranker: Reranker, pairs: int) -> tuple[float, float]:
    """Resident memory after MEMORY_AT and after `pairs` pairs: new texts of random lengths, one in 100 scored alone."""
    rng, words = random.Random(0), " ".join(document for _, document in PAIRS).split()
    found: list[float] = []
    for done in range(0, pairs, 100):
        texts = [" ".join(rng.choices(words, k=rng.randint(1, 300))) for _ in range(100)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of texts beyond max_length, which are as good as others here
            reranker.score([(PAIRS[0][0], text) for text in texts[1:]])
            reranker.score([(PAIRS[0][0], texts[0])])
        if done + 100 in (MEMORY_AT, pairs):
            found.append(resident_mb())
    return found[0], found[-1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--memory", type=int, metavar="PAIRS", help="measure memory over so many pairs, too (10000)")
    options = parser.parse_args()
    if options.memory is not None and (options.memory <= MEMORY_AT or options.memory % 100):
        parser.error(f"--memory is a multiple of 100 above {MEMORY_AT}, not {options.memory}")
    limit = open_checkpoint(options.checkpoint).max_length or max(LENGTHS)
    lengths = [length for length in LENGTHS if length <= limit]
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as cache:
        load = partial(
            Reranker.load,
            options.checkpoint,
            mode="onnx-int8",
            max_length=max(lengths),
            cache_dir=cache,
            min_fidelity=None,
        )
        if options.memory:
            before, after = growth(load(), options.memory)
            console.print(
                f"resident after {MEMORY_AT:,} pairs {before:,.1f} MB, after {options.memory:,} {after:,.1f} MB: "
                f"{after / before - 1:+.1%}"
            )
        one = load(threads=1)
        pairs = {length: pair_of(one, length) for length in lengths}
        times = {length: seconds(one, [pair], runs=RUNS) for length, pair in pairs.items()}
        reference = times[REFERENCE] / REFERENCE
        table = Table("tokens", "ms", f"cost per token, {REFERENCE} = 1", "attention's share", box=box.SIMPLE)
        for length in lengths:
            share = attention_share(load, length)
            relative = times[length] / length / reference
            table.add_row(str(length), f"{times[length] * 1e3:.1f}", f"{relative:.2f}", f"{share:.0%}")
        console.print(table)
        all_cores = load()
        lone = [seconds(reranker, [pairs[REFERENCE]], runs=15) for reranker in (one, all_cores)]
        console.print(
            f"a lone pair of {REFERENCE} tokens on {available_cpus()} cores: {lone[1] / lone[0]:.2f} of its time on one"
        )
        outside = overhead(one, [pairs[REFERENCE]] * 100)
        console.print(f"outside of ONNX Runtime, tokenizer included: {outside * 1e3:.2f} ms per pair")


if __name__ == "__main__":
    main()
