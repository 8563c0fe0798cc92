"""The gate: how far INT8 scores stray from float32's on the probe, measured once per artifact."""

import contextlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bge_cpu.errors import FidelityError, warn
from bge_cpu.quantization.cache import FIDELITY, locked
from bge_cpu.quantization.manifest import checked, read_json, read_manifest
from bge_cpu.quantization.sharing import share

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Fidelity:
    """How INT8 logits compare with float32's.

    Attributes:
        spearman: Rank correlation, -1..1.
        rmse: Root of the mean squared difference, in logits.
        largest: The largest difference, in logits.
        pairs: How many pairs were compared.
        artifact: The digest of the tensors that were measured, as in the artifact's manifest.
    """

    spearman: float
    rmse: float
    largest: float
    pairs: int
    artifact: str = ""


def gate(
    artifact: Path, what: str, *, min_fidelity: float | None, measure: Callable[[], tuple[Logits, Logits]]
) -> Fidelity | None:
    """Refuse an artifact whose Spearman correlation with float32 on the probe is below `min_fidelity`.

    The figures are worked out at the first call, by one process while the others wait, and kept in the artifact. Where
    they cannot be kept, a warning says so, and every process works them out for itself.

    Args:
        artifact: Its folder.
        what: What it is, for messages: "onnx-int8 of BAAI/bge-reranker-v2-m3".
        min_fidelity: The least correlation, -1..1; None asks for nothing and measures nothing.
        measure: Gives float32's logits of the probe and the artifact's, float32, (pairs,) each.

    Raises:
        FidelityError: The correlation is too low.
    """
    if min_fidelity is None:
        return None
    found = read(artifact) or _measured_once(artifact, measure)
    if not found.spearman >= min_fidelity:
        raise FidelityError(
            f"{what} ranks too unlike float32: Spearman {found.spearman:.4f} on {found.pairs} "
            f"probe pairs, min_fidelity is {min_fidelity}; RMSE {found.rmse:.3f}, largest shift {found.largest:.3f}",
            hint='use mode="onnx" (float32); or lower min_fidelity, or pass None, if your own evaluation allows it',
        )
    return found


def read(artifact: Path) -> Fidelity | None:
    """The figures kept in an artifact; None where they were not measured, cannot be read or are another artifact's."""
    try:
        manifest, found = read_manifest(artifact), checked(Fidelity, read_json(artifact / FIDELITY))
    except OSError:
        return None
    ours = isinstance(found, Fidelity) and manifest is not None and found.artifact == manifest.sha256
    return found if ours else None


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


def _measured_once(artifact: Path, measure: Callable[[], tuple[Logits, Logits]]) -> Fidelity:
    """The figures, worked out and kept under the artifact's lock, unless another process was faster."""
    with contextlib.ExitStack() as stack:
        why = ""
        try:
            stack.enter_context(locked(artifact))
        except OSError as error:  # a cache that cannot be written
            why = error.strerror or str(error)
        found = read(artifact)
        if found is None:
            manifest = read_manifest(artifact)
            found = replace(compare(*measure()), artifact=manifest.sha256 if manifest else "")
            why = why or _keep(found, artifact)
            if why:
                warn(
                    f"the fidelity of {artifact} cannot be kept ({why}); every process will measure it anew: "
                    "load it once with a cache_dir that can be written"
                )
        return found


def _keep(found: Fidelity, artifact: Path) -> str:
    """Keep the figures in the artifact; what hinders that, or ""."""
    temporary = artifact / f".{FIDELITY}"
    try:
        temporary.write_text(json.dumps(asdict(found)), encoding="utf-8")
        share(temporary)
        temporary.replace(artifact / FIDELITY)
    except OSError as error:
        return error.strerror or str(error)
    return ""
