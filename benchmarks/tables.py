"""README's and docs' tables and picture of the peers, from benchmarks/results: python benchmarks/tables.py [--check].

A table stands between `<!-- figures: NAME KIND -->` and `<!-- end -->`; NAME is a file of benchmarks/results, which
peers.py wrote, KIND is `peers` (every contender), `modes` (ours, in short) or `modes-zh` (the same in Chinese). With
--check nothing is written, and the exit code is 1 where a page says something else. Tables are written by nobody else.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from contest.contenders import BASELINE, OURS
from contest.report import contenders, plot

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results"
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", ROOT / "docs/performance.md"]
PICTURE = ROOT / "docs/peers.svg"  # README's: one work of one run
PICTURED = "v2-m3-avx2", "a"
_PLACE = re.compile(r"(<!-- figures: (\S+) ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_NAMES = {
    "article-fp32": "the article's PyTorch script, float32",
    "article-int8": "the article's PyTorch dynamic INT8",
    "article-onnx": "the article's ONNX Runtime script",
    "ort-int8": "ONNX Runtime's stock dynamic INT8",
    "openvino-int8": "OpenVINO, static INT8, one pair per request, driven by hand",
    "sentence-transformers-openvino": "sentence-transformers on OpenVINO, static INT8",
    "sentence-transformers": "sentence-transformers, PyTorch float32",
    "flagembedding": "FlagEmbedding, float32",
    "fastembed": "fastembed, float32",
}


def results(name: str) -> dict[str, Any]:
    """What peers.py measured."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def peak_gb(found: dict[str, Any]) -> float:
    """The peak of a contender's resident memory over all works, in 10^9 bytes."""
    return max(float(work["peak_gb"]) for work in found["works"].values())


def peers(run: dict[str, Any]) -> list[str]:
    """Every contender: times as fast as the baseline on each work, memory, start, size."""
    works = sorted(run["works"])
    judged = any("spearman" in found for found in run["contenders"].values())
    heads = ["", *(f"({work})" for work in works), "peak memory", "to the first score", "installed"]
    rows = [heads + ["Spearman", "nDCG@10"] * judged]
    for who, found in contenders(run, works[0]):
        times = (found["works"].get(work, {}).get("times_as_fast") for work in works)
        cells = [f"{each:.1f}" if each else "" for each in times]
        cells += [f"{peak_gb(found):.2f} GB", f"{found['load_seconds']:.1f} s", f"{found['megabytes']:,.0f} MB"]
        if judged:
            cells += [f"{found['spearman']:.4f}", f"{found['ndcg']:.3f}"] if "spearman" in found else ["", ""]
        rows.append([f"**`{who}`**" if who in OURS else _NAMES[who], *cells])
    return markdown(rows)


def modes(
    run: dict[str, Any],
    heads: tuple[str, ...] = ("mode", "times as fast", "peak memory"),
    usual: str = "PyTorch float32, batches of 8: the usual script",
) -> list[str]:
    """Our modes: times as fast as the baseline on passages, and memory."""
    rows = [list(heads)]
    for who, found in contenders(run, "a"):
        if who in OURS or who == BASELINE:
            name = f"`{who}`" if who in OURS else usual
            rows.append([name, f"{found['works']['a']['times_as_fast']:.1f}", f"{peak_gb(found):.2f} GB"])
    return markdown(rows)


def modes_zh(run: dict[str, Any]) -> list[str]:
    """The same in Chinese."""
    return modes(run, ("模式", "速度倍数", "内存峰值"), "PyTorch float32，8 对一批：常见的脚本")


def markdown(rows: list[list[str]]) -> list[str]:
    """A table; figures stand to the right."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], f"|---|{'---:|' * (len(rows[0]) - 1)}", *lines[1:]]


KINDS = {"peers": peers, "modes": modes, "modes-zh": modes_zh}


def filled(page: str) -> str:
    """A page with its tables as they should be."""
    return _PLACE.sub(lambda place: place[1] + "\n".join(KINDS[place[3]](results(place[2]))) + "\n" + place[4], page)


def main() -> None:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    wrong = []
    for file in PAGES:
        text = file.read_text(encoding="utf-8")
        if (page := filled(text)) != text:
            wrong.append(file)
            if not check:
                file.write_text(page, encoding="utf-8")
    for file in wrong:
        print(f"{file.relative_to(ROOT)}: {'not what was measured' if check else 'written'}")
    if check:
        sys.exit(bool(wrong))
    run, work = results(PICTURED[0]), PICTURED[1]
    plot(run | {"works": {work: run["works"][work]}, "checkpoint": {"name": "v2-m3's shape"}}, PICTURE)


if __name__ == "__main__":
    main()
