"""A run's log -> a picture of its loss and its quality."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

_SMOOTH = 50  # steps


def plot(rows: Sequence[Mapping[str, Any]], baselines: Mapping[str, float], out: Path) -> None:
    """Draw the loss over the steps, smoothed, and each validation measure with BM25's beside it.

    Args:
        rows: The log's lines.
        baselines: BM25's nDCG@10 by data set.
        out: A file that matplotlib can write: .png, .svg.
    """
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [row["step"] for row in rows if "loss" in row]
    losses = np.array([row["loss"] for row in rows if "loss" in row])
    left.plot(steps, losses, alpha=0.2, color="C0")
    if len(losses) >= _SMOOTH:
        left.plot(steps[_SMOOTH - 1 :], np.convolve(losses, np.ones(_SMOOTH) / _SMOOTH, "valid"), color="C0")
    checks = [row for row in rows if "validation" in row]
    left.plot([row["step"] for row in checks], [row["heldout"] for row in checks], "o-", color="C3", label="held out")
    left.set(title="loss", xlabel="step", ylabel="nats per list")
    left.legend()
    for number, (name, baseline) in enumerate(baselines.items()):
        found = [row for row in checks if name in row["validation"]]  # it may have been added on a resumption
        values = [row["validation"][name] for row in found]
        right.plot([row["step"] for row in found], values, "o-", color=f"C{number}", label=name)
        right.axhline(baseline, color=f"C{number}", linestyle=":")
    right.set(title="nDCG@10 (dotted: BM25)", xlabel="step")
    right.legend()
    figure.savefig(out)
