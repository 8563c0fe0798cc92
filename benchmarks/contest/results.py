"""The results of a run, as they are written to a file."""

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from contest.bench import Bench
from contest.contenders import CONTENDERS
from contest.entrant import Entrant
from contest.environments import REPOSITORY
from contest.gemm import operations
from contest.sample import Sample
from contest.works import WORKS, Work, padding

INSTRUCTIONS = r"\b(?:avx2|avx512f|avx512_vnni|avx512_bf16|avx_vnni|amx_int8|amx_bf16|asimddp)\b"


def machine() -> dict[str, Any]:
    """What this runs on."""
    info = Path("/proc/cpuinfo").read_text()
    return {
        "cpu": (re.findall(r"model name\s*: (.*)", info) or [platform.machine()])[0],
        "cores": len(os.sched_getaffinity(0)),
        "instructions": sorted(set(re.findall(INSTRUCTIONS, info))),
        "memory_gb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def commit() -> str | None:
    """What of bge-cpu is measured, as git names it."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    return done.stdout.strip() or None


def size(work: Work) -> dict[str, Any]:
    """What a work consists of."""
    return {
        "title": WORKS[work.name],
        "pairs": len(work.pairs),
        "calls": len(work.calls),
        "tokens": {"min": min(work.lengths), "mean": fmean(work.lengths), "max": max(work.lengths)},
        "padding_in_batches_of_8": padding(work),
    }


def contenders(
    entrants: Sequence[Entrant], works: Sequence[Work], bench: Bench, sample: Sample | None, config: dict[str, Any]
) -> dict[str, Any]:
    """All figures, by contender; of those that were ever timed."""
    found: dict[str, Any] = {}
    for entrant in entrants:
        if entrant.rounds:
            about = CONTENDERS[entrant.name]
            found[entrant.name] = {
                "environment": about.environment,
                "note": about.note,
                "megabytes": bench.environment(about.environment).megabytes,
                "load_seconds": median(start["seconds"] for start in entrant.starts) if entrant.starts else None,
                "starts": entrant.starts,
                "works": {
                    work.name: figures(entrant, entrants[0], work, config)
                    for work in works
                    if work.name in entrant.rounds
                },
            }
            if sample and entrant.logits and entrants[0].logits:
                found[entrant.name] |= sample.compare(entrants[0].logits, entrant.logits)
    return found


def figures(entrant: Entrant, reference: Entrant, work: Work, config: dict[str, Any]) -> dict[str, Any]:
    """What a table says of a contender's rounds over a work, and the rounds themselves."""
    rounds = entrant.rounds[work.name]
    seconds, pairs = median(found["seconds"] for found in rounds), len(work.pairs)
    baseline = seconds if entrant is reference else entrant.baseline.get(work.name)  # that of its own group
    scores = [found["scores"] for found in rounds]
    expected = reference.rounds[work.name][0]["scores"] if work.name in reference.rounds else scores[0]
    return {
        "ms_per_pair": seconds / pairs * 1e3,
        "pairs_per_second": pairs / seconds,
        "times_as_fast": baseline / seconds if baseline else None,
        "baseline_ms_per_pair": baseline / pairs * 1e3 if baseline else None,
        "peak_gb": max(found["peak_gb"] for found in [*entrant.starts, *rounds]),
        "anon_gb": rounds[-1]["anon_gb"],
        "gops": operations(config, work.lengths) / seconds / 1e9,
        "others_share": max(found["others_share"] for found in rounds),
        "largest_difference": max(abs(one - other) for one, other in zip(scores[0], expected, strict=True)),
        "largest_change_between_rounds": max(max(each) - min(each) for each in zip(*scores, strict=True)),
        "rounds": [{key: value for key, value in found.items() if key != "scores"} for found in rounds],
    }
