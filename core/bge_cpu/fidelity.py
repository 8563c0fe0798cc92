"""The gate: how far INT8 scores stray from float32's on the probe, measured once per artifact in a child process.

Run as `python -m bge_cpu.fidelity`, this module is that child: both engines' memory goes with it.
"""

import importlib
import json
import math
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bge_cpu.artifacts import TENSORS
from bge_cpu.checkpoint import Checkpoint
from bge_cpu.children import why_it_failed
from bge_cpu.errors import ArtifactError, FidelityError
from bge_cpu.probe import PAIRS
from bge_cpu.tokenizer import PairTokenizer

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
    checkpoint: Checkpoint, artifact: Path, *, mode: str, threads: int, min_fidelity: float | None
) -> Fidelity | None:
    """Refuse an artifact whose Spearman correlation with float32 on the probe is below `min_fidelity`.

    The figures are measured at the first call and kept in the artifact. None asks for nothing and measures nothing.

    Raises:
        FidelityError: The correlation is too low.
        ArtifactError: The child process that measures failed.
    """
    if min_fidelity is None:
        return None
    found = read(artifact) or _measure_in_child(checkpoint, artifact, mode=mode, threads=threads)
    if not found.spearman >= min_fidelity:
        raise FidelityError(
            f"{mode} of {checkpoint.name} ranks too unlike float32: Spearman {found.spearman:.4f} on {found.pairs} "
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


def compare(reference: NDArray[np.float32], logits: NDArray[np.float32]) -> Fidelity:
    """Compare two engines' logits of the same pairs, float32, (pairs,)."""
    difference = np.abs(reference.astype(np.float64) - logits)
    return Fidelity(
        spearman=spearman(reference, logits),
        rmse=math.sqrt(float(np.mean(difference**2))),
        largest=float(difference.max()),
        pairs=len(reference),
    )


def spearman(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Rank correlation of two lists, -1..1, ties sharing their mean rank; nan where a list is constant."""
    ranks = [_ranks(values) for values in (one, other)]
    deviations = [rank - rank.mean() for rank in ranks]
    norm = math.sqrt(float((deviations[0] ** 2).sum() * (deviations[1] ** 2).sum()))
    return float((deviations[0] * deviations[1]).sum()) / norm if norm else math.nan


def _ranks(values: NDArray[np.float32]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middles: NDArray[np.float64] = ends - (counts - 1) / 2
    return middles[inverse]


def _measure_in_child(checkpoint: Checkpoint, artifact: Path, *, mode: str, threads: int) -> Fidelity:
    task = asdict(checkpoint) | {"artifact": str(artifact), "mode": mode, "threads": threads}
    command = [sys.executable, "-m", "bge_cpu.fidelity"]
    child = subprocess.run(command, input=json.dumps(task, default=_plain), capture_output=True, text=True)
    if child.returncode:
        raise ArtifactError(
            f"the fidelity of {artifact} could not be measured: {why_it_failed(child.returncode, child.stderr)}",
            hint="it takes 2.2 GB of memory for v2-m3; min_fidelity=None loads without measuring",
        )
    (line,) = child.stdout.splitlines()
    temporary = artifact / f".{_FILE}"
    try:
        temporary.write_text(line)
        temporary.replace(artifact / _FILE)
    except OSError as error:
        raise ArtifactError(f"the fidelity of {artifact} could not be kept: {error.strerror}") from error
    return Fidelity(**json.loads(line))


def _plain(value: Any) -> Any:
    return [str(item) for item in value] if isinstance(value, tuple) else str(value)


def _measure(task: dict[str, Any]) -> Fidelity:
    """Score the probe with float32 and with the artifact, one engine after the other."""
    weights = tuple(Path(file) for file in task["weights"])
    checkpoint = Checkpoint(task["name"], Path(task["folder"]), task["config"], weights, task["commit"])
    pairs = PairTokenizer.load(checkpoint.tokenizer).encode(PAIRS)
    reference_mode = "onnx" if task["mode"].startswith("onnx") else "fp32"
    reference = importlib.import_module(f"bge_cpu.engines.{reference_mode}")
    expected = reference.load(checkpoint, threads=task["threads"]).logits(pairs)
    module = importlib.import_module(f"bge_cpu.engines.{task['mode'].replace('-', '_')}")
    engine = module.from_file(checkpoint, Path(task["artifact"]) / TENSORS, threads=task["threads"])
    return compare(expected, engine.logits(pairs))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(_measure(json.load(sys.stdin)))) + "\n")
