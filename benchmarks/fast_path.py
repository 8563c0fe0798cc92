"""What a fast mode's time and memory depend on: python benchmarks/fast_path.py CHECKPOINT [options].

Milliseconds and cost per token over the length of a pair, and the share of this CPU's INT8 peak that they are, on one
thread; the same for batches of pairs on all cores, all of 256 tokens and mixed; what a lone pair gains by all cores;
what Python and the tokenizer add to a pair; how resident memory grows. Times are medians. The mode is loaded as by a
user, but without the gate. The peak is a loop of the dot product's instruction (benchmarks/native.py), times the cores;
operations are the matrices' and attention's, two for each multiplication.
"""

import argparse
import random
import re
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from rich import box
from rich.console import Console
from rich.table import Table

from bge_cpu import Reranker
from bge_cpu.bench.child import pair_of, seconds
from bge_cpu.checkpoint import open_checkpoint
from bge_cpu.checkpoint.architecture import Architecture
from bge_cpu.engines.native_int8 import NativeEngine
from bge_cpu.engines.onnx import OnnxEngine
from bge_cpu.kernels.library import library
from bge_cpu.machine.cpu import available_cpus
from bge_cpu.quantization.probe import PAIRS
from native import peak

MODES = {"native-int8": NativeEngine, "onnx-int8": OnnxEngine}
LENGTHS, REFERENCE, RUNS = (32, 64, 128, 256, 512, 1024, 2048), 128, 5
BATCH, EVEN, MIXED = 16, 256, (108, 434)  # pairs; their tokens; the bounds of the passages in peers.py's work (a)
MEMORY_AT = 500  # pairs


def operations(architecture: Architecture, tokens: int) -> int:
    """Of one pair: in the layers' matrices, and in attention's two products."""
    hidden, layers = architecture.hidden, architecture.layers
    matrices = 4 * hidden * hidden + 2 * hidden * architecture.intermediate
    return 2 * layers * tokens * (matrices + 2 * hidden * tokens)


def overhead(reranker: Reranker, engine: type, pairs: list[tuple[str, str]]) -> float:
    """Seconds that a pair takes outside of the engine's runs: Python, tokenizer, queues."""
    inside: list[float] = []

    def timed(*arguments: Any) -> Any:
        start = time.perf_counter()
        logits = run(*arguments)
        inside.append(time.perf_counter() - start)
        return logits

    run = vars(engine)["_run"]
    with mock.patch.object(engine, "_run", timed):
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
    parser.add_argument("--mode", choices=MODES, default="native-int8")
    parser.add_argument("--memory", type=int, metavar="PAIRS", help="measure memory over so many pairs, too (10000)")
    options = parser.parse_args()
    if options.memory is not None and (options.memory <= MEMORY_AT or options.memory % 100):
        parser.error(f"--memory is a multiple of 100 above {MEMORY_AT}, not {options.memory}")
    checkpoint = open_checkpoint(options.checkpoint)
    architecture = Architecture.from_config(checkpoint.config)
    lengths = [length for length in LENGTHS if length <= (checkpoint.max_length or max(LENGTHS))]
    console, cores = Console(highlight=False), available_cpus()
    with tempfile.TemporaryDirectory() as cache:
        load = partial(
            Reranker.load,
            options.checkpoint,
            mode=options.mode,
            max_length=max(lengths),
            cache_dir=cache,
            min_fidelity=None,
        )
        load()  # builds
        kernels = library().best()
        of_peak = peak(library(), kernels, integer=True) if kernels else float("nan")
        console.print(f"{options.mode}; peak of INT8 on one core: {of_peak:.0f} GOP/s")
        if options.memory:
            before, after = growth(load(), options.memory)
            console.print(
                f"resident after {MEMORY_AT:,} pairs {before:,.1f} MB, after {options.memory:,} {after:,.1f} MB: "
                f"{after / before - 1:+.1%}"
            )
        one, all_cores = load(threads=1), load()
        pairs = {length: pair_of(one, length) for length in lengths}
        times = {length: seconds(one, [pair], runs=RUNS) for length, pair in pairs.items()}
        reference = times[REFERENCE] / REFERENCE
        table = Table("tokens", "ms", f"cost per token, {REFERENCE} = 1", "of the peak", box=box.SIMPLE)
        for length in lengths:
            relative = times[length] / length / reference
            share = operations(architecture, length) / times[length] / of_peak * 1e-9
            table.add_row(str(length), f"{times[length] * 1e3:.1f}", f"{relative:.2f}", f"{share:.0%}")
        console.print(table)
        rng = random.Random(0)
        for name, tokens in {
            f"{EVEN} tokens each": [EVEN] * BATCH * cores,
            f"{MIXED[0]} to {MIXED[1]} tokens": [rng.randint(*MIXED) for _ in range(BATCH * cores)],
        }.items():
            spent = seconds(all_cores, [pair_of(one, length) for length in tokens], runs=RUNS)
            share = sum(operations(architecture, length) for length in tokens) / spent / (cores * of_peak) * 1e-9
            console.print(
                f"{len(tokens)} pairs, {name}, {cores} cores: {1e3 * spent / len(tokens):.1f} ms a pair, "
                f"{share:.0%} of the peak"
            )
        lone = [seconds(reranker, [pairs[REFERENCE]], runs=15) for reranker in (one, all_cores)]
        console.print(f"a lone pair of {REFERENCE} tokens on {cores} cores: {lone[1] / lone[0]:.2f} of its time on one")
        outside = overhead(one, MODES[options.mode], [pairs[REFERENCE]] * 100)
        console.print(f"outside of the engine, tokenizer included: {outside * 1e3:.2f} ms per pair")


if __name__ == "__main__":
    main()
