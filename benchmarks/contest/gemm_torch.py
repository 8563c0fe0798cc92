"""PyTorch's matrix products on all cores: its linear layer, and oneDNN's INT8 one."""

import warnings
from collections.abc import Callable

import torch
from torch.nn.functional import linear

from contest.gemm import ROWS, Rates, fastest


def measure(shapes: list[list[int]], threads: int) -> Rates:
    """The best rate of all cores together for each shape."""
    warnings.simplefilter("ignore")  # its quantised tensors are on their way out
    torch.set_num_threads(threads)
    torch.backends.quantized.engine = "onednn"
    products = {"fp32": float32, "int8": int8}
    return {
        kind: [max(rate(product, inner, columns, rows) for rows in ROWS) for inner, columns in shapes]
        for kind, product in products.items()
    }


def rate(product: Callable[[int, int, int], Callable[[], torch.Tensor]], inner: int, columns: int, rows: int) -> float:
    """Of one product, in 10^9 operations per second."""
    return 2 * rows * inner * columns / fastest(product(rows, inner, columns)) / 1e9


def float32(rows: int, inner: int, columns: int) -> Callable[[], torch.Tensor]:
    """What multiplies random matrices."""
    x, weight = torch.rand(rows, inner), torch.randn(columns, inner)
    return lambda: linear(x, weight)


def int8(rows: int, inner: int, columns: int) -> Callable[[], torch.Tensor]:
    """What multiplies random matrices, quantised: rows with one scale, columns with a scale each."""
    scales, zeros = torch.full((columns,), 0.01), torch.zeros(columns, dtype=torch.int64)
    weight = torch.quantize_per_channel(torch.randn(columns, inner), scales, zeros, 0, torch.qint8)
    packed = torch.ops.quantized.linear_prepack(weight, None)
    x = torch.quantize_per_tensor(torch.rand(rows, inner), 0.01, 128, torch.quint8)
    return lambda: torch.ops.quantized.linear(x, packed, 1.0, 0)
