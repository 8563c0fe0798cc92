"""Mode "onnx-int8": INT8 matrices on ONNX Runtime, short pairs packed into one run; the fast mode.

Weights are INT8 per output channel, activations INT8 per token, and whole numbers add up the same in any company: a
score depends on nothing but its pair.
The INT8 tensors are built once and cached (`artifacts.py`).
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bge_cpu import fidelity
from bge_cpu.architecture import Architecture
from bge_cpu.artifacts import TENSORS, Recipe, check, obtain, read_manifest
from bge_cpu.checkpoint import Checkpoint
from bge_cpu.cpu import int8_class
from bge_cpu.engines.onnx import OnnxEngine, check_tensors
from bge_cpu.errors import ArtifactError
from bge_cpu.fidelity import gate
from bge_cpu.graph import build
from bge_cpu.linear import Float32, Int8
from bge_cpu.quantize import equalize, quantize_rows, row_scales
from bge_cpu.record import recorded_mode
from bge_cpu.weights import Weights

VERSION = 1
_LARGEST = {"exact": 127, "saturating": 63}
_BLOCK = 16_384  # rows


def load(
    checkpoint: Checkpoint, *, threads: int, cache_dir: Path | None = None, min_fidelity: float | None = 0.98
) -> OnnxEngine:
    """Load an XLM-RoBERTa, RoBERTa or BERT checkpoint, building its INT8 artifact if it is not in the cache.

    Args:
        checkpoint: What to load.
        threads: How many CPUs to use at most.
        cache_dir: Where artifacts are kept; None means the user's cache folder.
        min_fidelity: The least Spearman correlation with float32 scores on the probe; None asks for none.

    Raises:
        CheckpointError: Another architecture, or tensors that do not fit the configuration.
        ArtifactError: The artifact cannot be built.
        FidelityError: The artifact's scores stray too far from float32's.
    """
    made = artifact(checkpoint, threads=threads, cache_dir=cache_dir, min_fidelity=min_fidelity)
    with made as folder:
        return from_file(checkpoint, folder / TENSORS, threads=threads)


@contextlib.contextmanager
def artifact(
    checkpoint: Checkpoint, *, threads: int, cache_dir: Path | None, min_fidelity: float | None
) -> Iterator[Path]:
    """The folder of the checkpoint's artifact, built if need be, that has passed the gate; the errors are `load`'s.

    An exported folder is its own artifact; what it was made from is not there to measure it against once more.
    """
    architecture = Architecture.from_config(checkpoint.config)
    cpu_class = int8_class()
    if recorded_mode(checkpoint.folder) == "onnx-int8":
        _check_exported(checkpoint, cpu_class)
        if fidelity.read(checkpoint.folder):
            gate(checkpoint, checkpoint.folder, mode="onnx-int8", threads=threads, min_fidelity=min_fidelity)
        yield checkpoint.folder
        return
    recipe = Recipe(
        mode="onnx-int8",
        version=VERSION,
        cpu_class=cpu_class,
        tensors=lambda: tensors(checkpoint, architecture, _LARGEST[cpu_class]),
        count=len(build(architecture, Int8())[1]),
    )
    with obtain(checkpoint, recipe, cache_dir=cache_dir) as folder:
        gate(checkpoint, folder, mode=recipe.mode, threads=threads, min_fidelity=min_fidelity)
        yield folder


def _check_exported(checkpoint: Checkpoint, cpu_class: str) -> None:
    damage = check(checkpoint.folder)
    if damage is not None:
        raise ArtifactError(f"the exported folder {checkpoint.folder} is damaged ({damage})", hint="export it again")
    made_for = (read_manifest(checkpoint.folder) or {}).get("cpu_class")
    if made_for == "exact" and cpu_class == "saturating":
        raise ArtifactError(
            f"{checkpoint.folder} was exported on a CPU with exact INT8 products; this one's would overflow",
            hint="export it on a CPU of this kind, or load the checkpoint itself",
        )


def from_file(checkpoint: Checkpoint, file: Path, *, threads: int) -> OnnxEngine:
    """The engine over an artifact's tensors."""
    architecture = Architecture.from_config(checkpoint.config)
    model, shapes = build(architecture, Int8())
    weights = Weights([file])
    check_tensors(weights, shapes, file)
    # Prepacking is a quarter faster, and takes 0.3 GB for v2-m3. With more rows than so many the matrices' kernels gain
    # no more, and the rows leave the second-level cache.
    return OnnxEngine(model, weights, shapes, architecture, threads=threads, prepack=True, tokens_per_run=256)


def tensors(checkpoint: Checkpoint, a: Architecture, largest: int) -> Iterator[tuple[str, NDArray[Any]]]:
    """The artifact's tensors by name, float32 before int8; a checkpoint's tensor is in memory only while it is used.

    Args:
        checkpoint: Whose weights.
        a: Its architecture.
        largest: The largest code of a weight.

    Raises:
        CheckpointError: A tensor is missing or of another shape than the configuration says.
    """
    weights = Weights(checkpoint.weights)
    check_tensors(weights, build(a, Float32())[1], checkpoint.folder)
    shapes = build(a, Int8())[1]
    quantized = [name for name in shapes if f"{name}.scales" in shapes]
    balanced = _Balanced(weights)
    for name in shapes:
        if name not in quantized and not name.endswith(".scales"):
            yield name, balanced[name]
    scales = {}
    for name in quantized:  # twice through the matrices: their scales are float32, and those stand first
        scales[name] = np.concatenate([row_scales(rows, largest) for _, rows in balanced.blocks(name)])
        yield f"{name}.scales", scales[name]
    for name in quantized:
        blocks = [quantize_rows(rows, scales[name][place]) for place, rows in balanced.blocks(name)]
        codes = np.concatenate(blocks) if len(blocks) > 1 else blocks[0]
        yield name, codes if name == a.word_embeddings else codes.T


class _Balanced:
    """A checkpoint's tensors, the value and output projections of its layers balanced against each other."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        parts = ("self.value.weight", "self.value.bias", "output.dense.weight")
        layer, attention, part = name.partition(".attention.")
        if not attention or part not in parts:
            return self._weights[name]
        value, bias, output = (self._weights[f"{layer}.attention.{part}"] for part in parts)
        return equalize(value, bias, output)[parts.index(part)]

    def blocks(self, name: str) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Some rows of a matrix at a time; what was read of the file is let go after each."""
        matrix = self[name]
        for start in range(0, len(matrix), _BLOCK):
            place = slice(start, start + _BLOCK)
            yield place, matrix[place]
            self._weights.release()
