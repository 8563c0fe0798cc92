"""Mode "onnx-int8": INT8 matrices on ONNX Runtime, short pairs packed into one run; the fast mode.

Weights are INT8 per output channel, activations INT8 per token, and whole numbers add up the same in any company: a
score depends on nothing but its pair.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bge_cpu.checkpoint import Checkpoint
from bge_cpu.checkpoint.architecture import Architecture
from bge_cpu.checkpoint.weights import Tensor, Tensors, Weights
from bge_cpu.engines.onnx import OnnxEngine
from bge_cpu.graph import build
from bge_cpu.graph.linear import Int8
from bge_cpu.machine.cpu import int8_class
from bge_cpu.quantization.artifacts import Recipe
from bge_cpu.quantization.balanced import Balanced
from bge_cpu.quantization.quantize import check_finite, quantize_rows, row_scales

VERSION = 1
"""Goes up when the same checkpoint would give other tensors."""

_LARGEST = {"exact": 127, "saturating": 63}
"""The largest code of a weight, by how the CPU multiplies INT8."""


def recipe(checkpoint: Checkpoint) -> Recipe:
    """How a checkpoint of a family that `Architecture` knows becomes this mode's artifact.

    Raises:
        CheckpointError: Another architecture.
    """
    architecture, cpu_class = Architecture.from_config(checkpoint.config), int8_class()
    return Recipe(
        mode="onnx-int8",
        version=VERSION,
        cpu_class=cpu_class,
        tensors=lambda: _tensors(checkpoint, architecture, _LARGEST[cpu_class]),
    )


def from_file(checkpoint: Checkpoint, file: Path, *, threads: int) -> OnnxEngine:
    """The engine over an artifact's tensors.

    Raises:
        CheckpointError: They do not fit the configuration.
    """
    architecture = Architecture.from_config(checkpoint.config)
    weights = Weights([file])
    architecture.check(weights, file, int8=True)
    model, shapes = build(architecture, Int8())
    # Prepacking is a quarter faster, and takes 0.3 GB for v2-m3. With more rows than so many the matrices' kernels gain
    # no more, and the rows leave the second-level cache.
    return OnnxEngine(model, weights, shapes, architecture, threads=threads, prepack=True, tokens_per_run=256)


def _tensors(checkpoint: Checkpoint, architecture: Architecture, largest: int) -> tuple[int, Tensors]:
    """How many tensors the artifact has, and these by name, float32 before int8; `largest` is a weight's largest code.

    Raises:
        CheckpointError: A tensor is missing or of another shape than the configuration says.
    """
    weights = Weights(checkpoint.weights)
    architecture.check(weights, checkpoint.folder)
    wanted = list(architecture.tensors(int8=True))
    return len(wanted), _quantized(Balanced(weights), wanted, architecture.word_embeddings, largest)


def _quantized(
    balanced: Balanced, wanted: Sequence[Tensor], word_embeddings: str, largest: int
) -> Iterator[tuple[str, NDArray[Any]]]:
    """The wanted tensors, each made when it is asked for; a matrix in float32 is never in memory whole."""
    matrices = [name for name, _, is_codes in wanted if is_codes]
    for name, _, is_codes in wanted:
        if not is_codes and not name.endswith(".scales"):
            yield name, balanced[name]
    scales = {}
    for name in matrices:  # twice through the matrices: their scales are float32, and those stand first in the file
        scales[name] = np.concatenate([row_scales(rows, largest) for _, rows in balanced.blocks(name)])
        check_finite(scales[name], name)
        yield f"{name}.scales", scales[name]
    for name in matrices:
        blocks = [quantize_rows(rows, scales[name][place]) for place, rows in balanced.blocks(name)]
        codes = np.concatenate(blocks) if len(blocks) > 1 else blocks[0]
        yield name, codes if name == word_embeddings else codes.T
