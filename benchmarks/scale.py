"""What a batch's speed depends on: python benchmarks/scale.py MEASUREMENT [options]; each prints a table.

    processes   one process with all threads, several with a share each, one with one thread: pairs per second
    ray         two actors of one CPU against one, and the same bytes as without Ray
    cost        CPU time per pair over length, and what a million pairs cost: --model CHECKPOINT --mode MODE

Run them alone on the machine.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from batch import FILES, table, write
from rich import box
from rich.console import Console
from rich.table import Table

from bge_cpu import Reranker
from bge_cpu.batch import Progress, rerank
from bge_cpu.engines import TokenizedPair
from bge_cpu.machine.cpu import available_cpus

LENGTHS = (64, 128, 256, 512)


def rate(source: Path, out: Path, options: argparse.Namespace, **more: Any) -> float:
    """Pairs per second of a run from its first scored row to its last; loading does not count."""
    seen: list[tuple[float, int]] = []

    def tell(progress: Progress) -> None:
        if progress.pairs:
            seen.append((time.perf_counter(), progress.pairs))

    rerank(source, out, model=options.model, mode=options.mode, shard_size=2, tell=tell, **more)
    (start, first), (end, last) = seen[0], seen[-1]
    return (last - first) / (end - start)


def processes(options: argparse.Namespace, folder: Path) -> Table:
    """One process against several."""
    source, cpus = write(folder / "in.jsonl", options.pairs // 50), available_cpus()
    cases = {"1 process, 1 thread": (1, 1), f"1 process, {cpus} threads": (1, cpus)}
    cases |= {f"{cpus} processes, 1 thread each": (cpus, cpus)}
    rates = {}
    for place, (name, (count, threads)) in enumerate(cases.items()):
        rates[name] = rate(source, folder / str(place), options, processes=count, threads=threads)
    return table("pairs per second", *((name, f"{found:,.1f}") for name, found in rates.items()))


def ray(options: argparse.Namespace, folder: Path) -> Table:
    """Two actors of one CPU against one."""
    from bge_cpu.ray import RayWorkers  # noqa: PLC0415  (the other proofs need no Ray)

    source = write(folder / "in.jsonl", options.pairs // 50)
    rates = [
        rate(source, folder / str(actors), options, threads=1, workers=RayWorkers("local", actors=actors))
        for actors in (1, 2)
    ]
    alone = rate(source, folder / "local", options, threads=1)
    same = all((folder / "2" / name).read_bytes() == (folder / "local" / name).read_bytes() for name in FILES)
    return table(
        f"Ray: {options.pairs:,} pairs, pairs per second",
        ("without Ray, 1 thread", f"{alone:,.1f}"),
        ("1 actor of 1 CPU", f"{rates[0]:,.1f}"),
        ("2 actors of 1 CPU", f"{rates[1]:,.1f}, {rates[1] / rates[0]:.2f} times"),
        ("equal to the byte to the run without Ray", "yes" if same else "NO"),
    )


def cost(options: argparse.Namespace, folder: Path) -> Table:
    """CPU time of pairs of one length, with one thread and with all; it suffers less from company than a clock."""
    shown = Table(box=box.SIMPLE, title=f"{options.model}, {options.mode}: CPU time and a million pairs")
    for name in ("tokens", "threads", "CPU ms/pair", "wall ms/pair", "CPU hours per million pairs"):
        shown.add_column(name, justify="right")
    for threads in options.threads or dict.fromkeys((1, available_cpus())):
        engine = Reranker.load(options.model, mode=options.mode, threads=threads, min_fidelity=None).engine
        for length in options.lengths:
            ids = np.random.default_rng(length).integers(5, 1_000, (4 * threads, length))
            pairs = [TokenizedPair(one, np.zeros(length, np.int64), 0) for one in ids]
            engine.logits(pairs[:threads])  # what is made at the first run does not count
            wall, cpu, done = time.perf_counter(), time.process_time(), 0
            while time.perf_counter() - wall < options.seconds:
                engine.logits(pairs)
                done += len(pairs)
            cpu, wall = (time.process_time() - cpu) / done, (time.perf_counter() - wall) / done
            hours = cpu * 1e6 / 3600
            shown.add_row(str(length), str(threads), f"{1e3 * cpu:,.2f}", f"{1e3 * wall:,.2f}", f"{hours:,.2f}")
    return shown


MEASUREMENTS: dict[str, Callable[[argparse.Namespace, Path], Table]] = {
    measurement.__name__: measurement for measurement in (processes, ray, cost)
}


def main() -> None:
    """Measure in a folder that goes with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measurement", choices=MEASUREMENTS)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--mode", default="onnx-int8")
    parser.add_argument("--pairs", type=int, default=4_000)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement of `cost`")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="tokens per pair, for `cost`")
    parser.add_argument("--threads", type=int, nargs="+", help="for `cost`; default: 1 and all")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bge-cpu-scale-") as temporary:
        Console(width=110).print(MEASUREMENTS[options.measurement](options, Path(temporary)))


if __name__ == "__main__":
    main()
