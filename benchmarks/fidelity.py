"""How far each mode strays from float32 on real texts: in its logits, and in the rankings that they make.

    python benchmarks/fidelity.py CHECKPOINT --json fidelity.json

Needs ../shared/data and the extra `torch`. First table: 1,000 pairs, 200 from each of five sets, half of them relevant;
of the others, half are drawn from anywhere and half from BM25's best. Second table: nDCG@10 as trec_eval computes it,
reranking the candidates of trec_dl19 and BM25's top 30 for the first 200 queries of stard_zh and xquad_zh. INT8
artifacts are built anew in a temporary folder, without the gate, so that what is measured is what this code builds.
"""

import argparse
import json
import math
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import every_linear
import numpy as np
from contest.child import Pair
from contest.data import DATA, RELEVANT, Collection
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bge_cpu import Reranker
from bge_cpu.checkpoint import open_checkpoint
from bge_cpu.engines import MODES
from bge_cpu.errors import BgeCpuError
from bge_cpu.machine.cpu import available_cpus
from bge_cpu.quantization.fidelity import compare
from bge_cpu.tokenizer import PairTokenizer

EVERY_LINEAR = "int8-every-linear"  # the article's literal PyTorch INT8, which is no mode of bge-cpu
RERANKED = ("trec_dl19", "stard_zh", "xquad_zh")
AT_ONCE = 512  # pairs
ALLOWED = 0.005  # nDCG@10, beyond two standard errors


def score(checkpoint: Path, mode: str, pairs: Sequence[Pair]) -> dict[Pair, float]:
    """A mode's logits by pair; there is no gate."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of truncation: it is counted once, for all modes
        if mode == EVERY_LINEAR:
            reranker = every_linear.load(checkpoint, threads=available_cpus())
        else:
            reranker = Reranker.load(checkpoint, mode=mode, cache_dir=folder, min_fidelity=None)
        chunks = [pairs[start : start + AT_ONCE] for start in range(0, len(pairs), AT_ONCE)]
        logits = [logit for chunk in track(chunks, mode.ljust(len(EVERY_LINEAR))) for logit in reranker.score(chunk)]
    return dict(zip(pairs, logits, strict=True))


def against(ndcg: NDArray[np.float64], reference: NDArray[np.float64]) -> dict[str, Any]:
    """The mean, its paired difference to the reference, and whether that is small for its standard error."""
    difference = ndcg - reference
    mean, error = float(difference.mean()), float(difference.std(ddof=1)) / math.sqrt(len(difference))
    figures = {"queries": len(ndcg), "ndcg@10": float(ndcg.mean()), "difference": mean, "standard_error": error}
    return figures | {"within": abs(mean) <= ALLOWED + 2 * error}


def show(results: dict[str, Any], reference: str) -> None:
    """Print both tables."""
    style: dict[str, Any] = {"title_justify": "left", "box": box.SIMPLE_HEAD, "pad_edge": False}
    columns = ["mode", "Spearman", "RMSE", "largest difference"]
    fidelity = Table(*columns, title=f"1,000 pairs: logits against {reference}", **style)
    for mode, row in results["pairs"].items():
        fidelity.add_row(mode, f"{row['spearman']:.5f}", f"{row['rmse']:.4f}", f"{row['largest']:.4f}")
    columns = ["set (queries)", "mode", "nDCG@10", "difference", "std. error", "within"]
    ndcg = Table(*columns, title=f"nDCG@10, and its paired difference to {reference}", **style)
    for name, modes in results["ndcg"].items():
        for mode, row in modes.items():
            cells = [f"{name} ({row['queries']})" if mode == "BM25" else "", mode, f"{row['ndcg@10']:.4f}"]
            if mode != reference:
                cells += [f"{row['difference']:+.4f}", f"{row['standard_error']:.4f}"]
                cells += [] if mode == "BM25" else ["yes" if row["within"] else "[bold red]no[/]"]
            ndcg.add_row(*cells, end_section=mode == list(modes)[-1])
    Console().print("", fidelity, "", ndcg, sep="\n")
    print(f"within: the difference is at most {ALLOWED} + 2 standard errors of it, either way.")


def main() -> None:
    """Score all pairs in every mode, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--reference", default="fp32", help="the mode that the others are held to (default: fp32)")
    known = [*MODES, EVERY_LINEAR]
    parser.add_argument("--mode", action="append", choices=known, help="repeatable (default: all of bge-cpu's)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--pairs-only", action="store_true", help="leave out nDCG, which takes half an hour")
    options = parser.parse_args()
    if not DATA.is_dir():
        parser.error(f"no evaluation data at {DATA}: put the folder `shared` beside the repository")
    collections = {name: Collection(name) for name in RELEVANT}
    sample = [pair for collection in collections.values() for pair in collection.sample()]
    runs = {} if options.pairs_only else {name: collections[name].run() for name in RERANKED}
    candidates = [collections[name].pair(q, d) for name, run in runs.items() for q in run for d in run[q]]
    pairs = list(dict.fromkeys(sample + candidates))
    tokenized = PairTokenizer.load(open_checkpoint(options.checkpoint).tokenizer).encode(pairs)
    cut = sum(pair.truncated_tokens > 0 for pair in tokenized)
    print(f"{len(pairs):,} distinct pairs, {len(set(sample)):,} of them in the sample; {cut:,} are cut to 512 tokens")
    logits = {options.reference: score(options.checkpoint, options.reference, pairs)}
    for mode in dict.fromkeys(options.mode or MODES):
        if mode != options.reference:
            try:
                logits[mode] = score(options.checkpoint, mode, pairs)
            except BgeCpuError as error:
                print(f"{mode} is left out: {error}")
    arrays = {mode: np.array([found[pair] for pair in sample], np.float32) for mode, found in logits.items()}
    expected = arrays.pop(options.reference)
    results: dict[str, Any] = {"checkpoint": str(options.checkpoint), "reference": options.reference}
    results |= {"versions": {name: version(name) for name in ("torch", "onnxruntime", "bge-cpu")}, "cut": cut}
    results["pairs"] = {mode: asdict(compare(expected, found)) for mode, found in arrays.items()}
    results["ndcg"] = {}
    for name, run in runs.items():
        ndcg = {mode: collections[name].ndcg(run, found) for mode, found in ({"BM25": None} | logits).items()}
        results["ndcg"][name] = {mode: against(found, ndcg[options.reference]) for mode, found in ndcg.items()}
    show(results, options.reference)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
