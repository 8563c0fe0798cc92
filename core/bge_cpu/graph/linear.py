"""Part of step 3: the two ways to write a graph's matrices, `Float32` and `Int8`."""

from typing import Any, Protocol

import numpy as np
from onnx import TensorProto

from bge_cpu.graph.nodes import Graph


class Linear(Protocol):
    """A way to write matrices: `operand` prepares activations, and the same class's `dense` multiplies the result."""

    def operand(self, graph: Graph, activations: str) -> Any:
        """Activations, (tokens, columns), ready to be multiplied by one or more matrices."""

    def dense(self, graph: Graph, operand: Any, name: str, rows: int, columns: int) -> str:
        """A linear layer, (tokens, columns) -> (tokens, rows)."""

    def rows(self, graph: Graph, name: str, rows: int, columns: int, ids: str) -> str:
        """The rows of a table, (tokens, columns)."""


class Float32:
    """Matrices as PyTorch lays them out, (out, in)."""

    def operand(self, graph: Graph, activations: str) -> str:
        """The activations themselves, (tokens, columns): float32 needs no preparation."""
        return activations

    def dense(self, graph: Graph, operand: str, name: str, rows: int, columns: int) -> str:
        """A linear layer, (tokens, columns) -> (tokens, rows)."""
        weight, bias = graph.weight(f"{name}.weight", rows, columns), graph.weight(f"{name}.bias", rows)
        return graph.add("Gemm", operand, weight, bias, transB=1)

    def rows(self, graph: Graph, name: str, rows: int, columns: int, ids: str) -> str:
        """The rows of a table, (tokens, columns)."""
        return graph.add("Gather", graph.weight(name, rows, columns), ids)


class Int8:
    """Matrices as per-channel INT8 codes, (in, out), activations as INT8 codes with a scale for every token.

    One scale for all tokens, as ONNX Runtime's own dynamic quantiser takes, is set by the few tokens with huge
    feed-forward activations, and costs all others their precision.
    """

    def operand(self, graph: Graph, activations: str) -> tuple[str, str]:
        """The activations' codes, uint8 around 128, (tokens, columns), and the tokens' scales, float32, (tokens, 1)."""
        peak = graph.add("ReduceMax", graph.add("Abs", activations), axes=[-1], keepdims=0)
        peak = graph.add("Max", peak, graph.constant([1e-12], np.float32))
        scale = graph.add("Mul", peak, graph.constant([1 / 127], np.float32))
        zeros = graph.add("Expand", graph.constant([128], np.uint8), graph.add("Shape", scale))
        codes = graph.add("QuantizeLinear", activations, scale, zeros, axis=0)
        return codes, graph.add("Unsqueeze", scale, graph.constant([1]))

    def dense(self, graph: Graph, operand: tuple[str, str], name: str, rows: int, columns: int) -> str:
        """A linear layer, (tokens, columns) -> (tokens, rows)."""
        codes, scale = operand
        weight = graph.weight(f"{name}.weight", columns, rows, dtype=TensorProto.INT8)
        scales, bias = graph.weight(f"{name}.weight.scales", rows), graph.weight(f"{name}.bias", rows)
        one, zero = graph.constant(1, np.float32), graph.constant(128, np.uint8)
        product = graph.add("MatMulIntegerToFloat", codes, weight, one, scales, zero, domain="com.microsoft")
        return graph.add("Add", graph.add("Mul", product, scale), bias)

    def rows(self, graph: Graph, name: str, rows: int, columns: int, ids: str) -> str:
        """The rows of a table, each by a scale of its own, (tokens, columns)."""
        codes = graph.add("Gather", graph.weight(name, rows, columns, dtype=TensorProto.INT8), ids)
        return graph.add(
            "DequantizeLinear", codes, graph.add("Gather", graph.weight(f"{name}.scales", rows), ids), axis=0
        )
