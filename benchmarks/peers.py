"""Every contender on the same pairs, in one run: python benchmarks/peers.py CHECKPOINT --json OUT --plot OUT.svg.

Contenders: the article's three scripts, ONNX Runtime's stock INT8, sentence-transformers (PyTorch, OpenVINO INT8),
FlagEmbedding, fastembed, OpenVINO INT8 one pair at a time, and bge-cpu in every mode. Each lives in a process and a
virtual environment of its own; those are made from benchmarks/contest/*.txt under --work-dir, and kept. Where PyTorch's
CPU build comes from is pip's business: set PIP_EXTRA_INDEX_URL if a plain `pip install torch` brings CUDA's.

All contenders are loaded, one after another, and sleep; for each work, rounds go through all of them by turns, and the
medians count. If memory gets short, the rest form a further group, with the baseline in it, too. Afterwards each is
started afresh as often: from there are the load times (from starting the interpreter to the scores of a short pair for
each core, files in the page cache) and the memory that loading takes. Needs `make install`, and ../shared/data for all
works but (f).
"""

import argparse
import json
import os
import shlex
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

from contest.bench import Bench
from contest.ceilings import Ceilings
from contest.contenders import BASELINE, CONTENDERS
from contest.data import DATA
from contest.entrant import Entrant
from contest.measure import measure
from contest.report import plot, show
from contest.results import commit, contenders, machine, size
from contest.sample import Sample
from contest.works import BUILT_IN, WORKS, Chooser

WORK_DIR = Path(tempfile.gettempdir(), "bge-cpu-bench")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--work", action="append", choices=sorted(WORKS), help="repeatable (default: all but f)")
    parser.add_argument("--contender", action="append", choices=CONTENDERS, help="repeatable (default: all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="for every contender (default: what each takes by itself)")
    parser.add_argument("--fidelity", action="store_true", help="for trained checkpoints: Spearman and nDCG@10, too")
    parser.add_argument("--here", action="store_true", help="run all in this environment; what it lacks is left out")
    parser.add_argument("--work-dir", type=Path, default=WORK_DIR, help=f"for what is kept (default: {WORK_DIR})")
    parser.add_argument("--json", type=Path, help="write all that was measured to this file")
    parser.add_argument("--plot", type=Path, help="draw it into this file, .svg or .png")
    options = parser.parse_args()
    names = options.work or [name for name in WORKS if name != BUILT_IN]
    if not DATA.is_dir() and (names != [BUILT_IN] or options.fidelity):
        parser.error(
            f"no evaluation data at {DATA}: put the folder `shared` beside the repository, or --work {BUILT_IN}"
        )
    if not (options.checkpoint / "tokenizer.json").is_file():
        parser.error(f"no checkpoint at {options.checkpoint}")
    for file in (options.json, options.plot):
        if file and not file.parent.is_dir():
            parser.error(f"{file} cannot be written: there is no folder {file.parent}")
    if options.plot and options.plot.suffix not in (".svg", ".png"):
        parser.error(f"--plot is a .svg or .png file, not {options.plot}")
    options.work_dir.mkdir(parents=True, exist_ok=True)

    config = json.loads((options.checkpoint / "config.json").read_text())
    weights_gb = sum(file.stat().st_size for file in options.checkpoint.glob("*.safetensors")) / 1e9
    bench = Bench(options.checkpoint, options.work_dir, threads=options.threads, own=not options.here)
    entrants = [Entrant(name, bench) for name in dict.fromkeys([BASELINE, *(options.contender or CONTENDERS)])]
    chooser, ceilings = Chooser(options.checkpoint), Ceilings(bench, config)
    works = [chooser.choose(name) for name in WORKS if name in names]
    sample = Sample() if options.fidelity else None
    results: dict[str, Any] = {
        "command": shlex.join(["python", *sys.argv]),
        "date": date.today().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "checkpoint": {"name": options.checkpoint.resolve().name, "gb": weights_gb, "config": config},
        "threads": options.threads,
        "works": {work.name: size(work) for work in sorted(works, key=lambda work: work.name)},
    }

    def save() -> None:
        """Bring the results up to date, here and on disk."""
        results["contenders"] = contenders(entrants, works, bench, sample, config)
        used = {found["environment"] for found in results["contenders"].values()}
        results["environments"] = {name: bench.environment(name).versions for name in sorted(used)}
        results["gemm"] = ceilings.results()
        failed = {entrant.name: entrant.failed for entrant in entrants} | {"GEMM ceilings": ceilings.failed}
        results["failed"] = {name: reason for name, reason in failed.items() if reason}
        if options.json:
            options.json.write_text(json.dumps(results, indent=1))

    for entrant in entrants:
        entrant.prepare()
    ours = any(entrant.name == "onnx-int8" and not entrant.failed for entrant in entrants)
    if ours:
        ceilings.measure()
    measure(
        entrants,
        works,
        rounds=options.rounds,
        first=chooser.choose("b" if DATA.is_dir() else BUILT_IN).pairs[: os.cpu_count()],
        sample=sample.pairs if sample else [],
        reserve_gb=5 * weights_gb + 1,  # for loading the next one, and for what all of them take when they score
        save=save,
    )
    if ours:
        ceilings.measure()
        save()
    show(results)
    if options.plot:
        plot(results, options.plot)


if __name__ == "__main__":
    main()
