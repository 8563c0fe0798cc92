"""Float matrices -> INT8 codes and scales in the kernels' own layout. Pure functions over arrays.

A class of kernels multiplies codes of one layout and range; its artifact serves no other class.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Int8 = NDArray[np.int8]


@dataclass(frozen=True)
class MatrixClass:
    """How a class of kernels wants its matrices; the same figures stand in native/dispatch.c.

    Attributes:
        name: What an artifact is made for.
        panel: How many outputs lie together.
        offset: What is added to a weight's code so that the kernel can take it for an unsigned byte.
        largest: The largest magnitude of a weight's code.
        group: How many inputs share a scale. It may be another multiple of 32; this is the one that measured best.
    """

    name: str
    panel: int
    offset: int
    largest: int
    group: int


CLASSES = {
    "vnni": MatrixClass("vnni", panel=32, offset=128, largest=127, group=256),
    "avx2": MatrixClass("avx2", panel=16, offset=42, largest=42, group=64),
    "neon": MatrixClass("neon", panel=16, offset=0, largest=127, group=256),
}
"""The classes by name: AVX-512 VNNI and AVX-VNNI; AVX2; arm64 with dot products."""


def pack_matrix(matrix: Float, kind: MatrixClass, group: int | None = None) -> tuple[Int8, Float]:
    """A matrix's codes and scales, as `native/bge.h` describes them.

    Args:
        matrix: float32, (outputs, inputs), both multiples of 32.
        kind: For which kernels.
        group: Inputs to a scale; None means the class's own.

    Returns:
        Codes, int8 (unsigned bytes where the class has an offset), (outputs/panel, inputs/4, panel, 4), and scales,
        float32, (outputs/panel, groups, panel). A weight is (code - offset) * scale.
    """
    group = group or kind.group
    outputs, inputs = matrix.shape
    groups = -(-inputs // group)
    padded = np.zeros((outputs, groups * group), np.float32)
    padded[:, :inputs] = matrix
    parts = padded.reshape(outputs, groups, group)
    peak = np.abs(parts).max(axis=2)
    scales = np.where(peak > 0, peak / np.float32(kind.largest), np.float32(1)).astype(np.float32)
    codes = np.rint(parts / scales[:, :, None]).clip(-kind.largest, kind.largest) + kind.offset
    packed = codes.astype(np.uint8 if kind.offset else np.int8).view(np.int8).reshape(outputs, -1)[:, :inputs]
    panels = outputs // kind.panel
    return (
        np.ascontiguousarray(packed.reshape(panels, kind.panel, inputs // 4, 4).transpose(0, 2, 1, 3)),
        np.ascontiguousarray(scales.reshape(panels, kind.panel, groups).transpose(0, 2, 1)),
    )
