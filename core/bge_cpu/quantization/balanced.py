"""A checkpoint's tensors as they are quantised: balanced, and a block of rows at a time."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bge_cpu.checkpoint.weights import Weights
from bge_cpu.quantization.quantize import equalize

_BLOCK = 16_384  # rows of a matrix that are in memory as float32 at once


class Balanced:
    """A checkpoint's tensors, the value and output projections of its layers balanced against each other.

    Args:
        weights: The checkpoint's tensors, float32, each in memory only while it is used.
    """

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
