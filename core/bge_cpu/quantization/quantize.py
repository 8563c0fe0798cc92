"""Float weights -> per-channel INT8. Pure functions over arrays.

Every output channel of a matrix, and every row of the embedding table, gets a scale of its own, so that its largest
value becomes 127 (or 63 in the reduced range, which CPUs without VNNI need: their INT8 products saturate otherwise).
"""

import numpy as np
from numpy.typing import NDArray

from bge_cpu.errors import CheckpointError

Float = NDArray[np.float32]
Codes = NDArray[np.int8]


def row_scales(table: Float, largest: int = 127) -> Float:
    """Each row's scale, float32, (rows,): its largest magnitude over `largest`; 1 for a row of zeros.

    The scale of a row with a value that is not finite is not finite either.

    Args:
        table: float32, (rows, columns).
        largest: The code of a row's largest value.
    """
    peak = np.abs(table).max(axis=1)
    scales: Float = np.where(peak == 0, np.float32(1), peak / np.float32(largest)).astype(np.float32)
    return scales


def check_finite(scales: Float, name: str) -> None:
    """Refuse a tensor whose scales tell of values that INT8 codes would hide.

    Raises:
        CheckpointError: A scale is not finite.
    """
    rows = np.flatnonzero(~np.isfinite(scales))
    if len(rows):
        raise CheckpointError(
            f"tensor {name} holds values that are not finite, first in row {rows[0]}",
            hint="the weights are damaged: download or copy the file again",
        )


def quantize_rows(table: Float, scales: Float) -> Codes:
    """The codes of a table, int8, (rows, columns), such that codes * scales[:, None] comes close to it."""
    codes: Codes = np.rint(table / scales[:, None]).astype(np.int8)
    return codes


def equalize(value: Float, value_bias: Float, output: Float) -> tuple[Float, Float, Float]:
    """Balance the channels between a value projection and the output projection that reads them.

    Attention mixes tokens, never channels, so scaling a channel up in one matrix and down in the other changes nothing
    in float. Left as they are, channels of very different size share one activation scale, and the small ones are lost
    in INT8. Each channel gets the factor that makes its row in `value` and its column in `output` equally large (as
    in Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction").

    Args:
        value: float32, (channels, hidden).
        value_bias: float32, (channels,).
        output: float32, (hidden, channels).

    Returns:
        The three, balanced.
    """
    written, read = np.abs(value).max(axis=1), np.abs(output).max(axis=0)
    used = (written > 0) & (read > 0) & np.isfinite(written) & np.isfinite(read)
    factor = np.ones_like(written)
    factor[used] = np.sqrt(read[used] / written[used])
    return value * factor[:, None], value_bias * factor, output / factor
