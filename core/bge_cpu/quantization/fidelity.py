"""The gate: how far INT8 scores stray from float32's on the probe, measured once per artifact in a child process.

Run as `python -m bge_cpu.quantization.fidelity`, this module is that child: both engines' memory goes with it.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bge_cpu.errors import ArtifactError, FidelityError

Logits = NDArray[np.float32]

_FILE = "fidelity.json"


@dataclass(frozen=True)
class Fidelity:
    """How INT8 logits compare with float32's.

    Attributes:
        spearman: Rank correlation, -1..1.
        rmse: Root of the mean squared difference, in logits.
        largest: The largest difference, in logits.
        pairs: How many pairs were compared.
    """

    spearman: float
    rmse: float
    largest: float
    pairs: int


def gate(
    artifact: Path, what: str, *, min_fidelity: float | None, measure: Callable[[], tuple[Logits, Logits]]
) -> Fidelity | None:
    """Refuse an artifact whose Spearman correlation with float32 on the probe is below `min_fidelity`.

    The figures are worked out at the first call and kept in the artifact.

    Args:
        artifact: Its folder.
        what: What it is, for messages: "onnx-int8 of BAAI/bge-reranker-v2-m3".
        min_fidelity: The least correlation, -1..1; None asks for nothing and measures nothing.
        measure: Gives float32's logits of the probe and the artifact's, float32, (pairs,) each.

    Raises:
        FidelityError: The correlation is too low.
        ArtifactError: The figures could not be kept.
    """
    if min_fidelity is None:
        return None
    found = read(artifact)
    if found is None:
        found = compare(*measure())
        _keep(found, artifact)
    if not found.spearman >= min_fidelity:
        raise FidelityError(
            f"{what} ranks too unlike float32: Spearman {found.spearman:.4f} on {found.pairs} "
            f"probe pairs, min_fidelity is {min_fidelity}; RMSE {found.rmse:.3f}, largest shift {found.largest:.3f}",
            hint='use mode="onnx" (float32); or lower min_fidelity, or pass None, if your own evaluation allows it',
        )
    return found


def read(artifact: Path) -> Fidelity | None:
    """The figures kept in an artifact, if they were measured and can be read."""
    try:
        return Fidelity(**json.loads((artifact / _FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def compare(reference: Logits, logits: Logits) -> Fidelity:
    """Compare two engines' logits of the same pairs, float32, (pairs,)."""
    difference = np.abs(reference.astype(np.float64) - logits)
    return Fidelity(
        spearman=spearman(reference, logits),
        rmse=math.sqrt(float(np.mean(difference**2))),
        largest=float(difference.max()),
        pairs=len(reference),
    )


def spearman(one: Logits, other: Logits) -> float:
    """Rank correlation of two lists, -1..1, ties sharing their mean rank; nan where a list is constant."""
    ranks = [_ranks(values) for values in (one, other)]
    deviations = [rank - rank.mean() for rank in ranks]
    norm = math.sqrt(float((deviations[0] ** 2).sum() * (deviations[1] ** 2).sum()))
    return float((deviations[0] * deviations[1]).sum()) / norm if norm else math.nan


def _ranks(values: Logits) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middles: NDArray[np.float64] = ends - (counts - 1) / 2
    return middles[inverse]


def _keep(found: Fidelity, artifact: Path) -> None:
    temporary = artifact / f".{_FILE}"
    try:
        temporary.write_text(json.dumps(asdict(found)))
        temporary.replace(artifact / _FILE)
    except OSError as error:
        raise ArtifactError(f"the fidelity of {artifact} could not be kept: {error.strerror}") from error
