"""Float matrices -> INT8 codes and scales in the kernels' own layout. Pure functions over arrays.

A class of kernels multiplies codes of one layout and range; its artifact serves no other class.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Int8 = NDArray[np.int8]
Int32 = NDArray[np.int32]

_MOST = 4096  # what an output's multipliers may sum up to: its sum of products then fits into 32 bits


@dataclass(frozen=True)
class MatrixClass:
    """How a class of kernels wants its matrices; the same figures stand in native/dispatch.c.

    Attributes:
        name: What an artifact is made for.
        panel: How many outputs lie together.
        largest: The largest magnitude of a weight's code.
        group: How many inputs share a multiplier; 0: there are none.
    """

    name: str
    panel: int
    largest: int
    group: int


CLASSES = {
    "vnni": MatrixClass("vnni", panel=32, largest=127, group=0),
    "avx2": MatrixClass("avx2", panel=16, largest=42, group=64),
    "neon": MatrixClass("neon", panel=16, largest=127, group=0),
}
"""The classes by name: AVX-512 VNNI and AVX-VNNI; AVX2; arm64 with dot products."""


@dataclass(frozen=True)
class Packed:
    """A matrix as the kernels read it, (outputs, inputs).

    A weight is its code times its output's scale and, where there are multipliers, that of its group of inputs.

    Attributes:
        codes: int8, (outputs/panel, inputs/4, panel, 4).
        multipliers: int32, (outputs/panel, groups, panel), each in both halves of its 32 bits; None: all are 1.
        sums: int32, (outputs,): the sum of an output's codes times their multipliers.
        scales: float32, (outputs,).
    """

    codes: Int8
    multipliers: Int32 | None
    sums: Int32
    scales: Float


def pack_matrix(matrix: Float, kind: MatrixClass) -> Packed:
    """Quantise a matrix and lay it out.

    The scale of a row with a value that is not finite is not finite either, and its codes mean nothing.

    Args:
        matrix: float32, (outputs, inputs), both multiples of 32.
        kind: For which kernels.
    """
    outputs, inputs = matrix.shape
    panels, size = outputs // kind.panel, kind.group or inputs
    starts = np.arange(0, inputs, size)
    peaks = np.maximum.reduceat(np.abs(matrix), starts, axis=1)
    most = _MOST // len(starts) if kind.group else 1
    peak = peaks.max(axis=1, keepdims=True)
    scales = np.where(peak == 0, np.float32(1), peak / np.float32(kind.largest * most)).astype(np.float32)
    with np.errstate(invalid="ignore"):  # what is not finite
        multipliers = np.ceil(peaks / (scales * np.float32(kind.largest))).clip(1, most).astype(np.int32)
        each = np.repeat(multipliers, size, axis=1)[:, :inputs]
        codes = np.rint(matrix / (scales * each)).clip(-kind.largest, kind.largest).astype(np.int8)
    twice = np.ascontiguousarray(multipliers.reshape(panels, kind.panel, -1).transpose(0, 2, 1)) * np.int32(0x10001)
    return Packed(
        codes=np.ascontiguousarray(codes.reshape(panels, kind.panel, inputs // 4, 4).transpose(0, 2, 1, 3)),
        multipliers=twice if kind.group else None,
        sums=(codes * each).sum(axis=1, dtype=np.int32),
        scales=scales[:, 0],
    )


def unpack_matrix(packed: Packed, kind: MatrixClass) -> Float:
    """The matrix that the codes stand for, float32, (outputs, inputs)."""
    panels, quarters = packed.codes.shape[:2]
    codes = packed.codes.transpose(0, 2, 1, 3).reshape(panels * kind.panel, quarters * 4).astype(np.float32)
    if packed.multipliers is not None:
        multipliers = (packed.multipliers & 0xFFFF).transpose(0, 2, 1).reshape(panels * kind.panel, -1)
        codes *= np.repeat(multipliers, kind.group, axis=1)[:, : quarters * 4]
    matrix: Float = codes * packed.scales[:, None]
    return matrix
