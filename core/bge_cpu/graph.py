"""Part of step 3: architecture -> ONNX graph of one pair; the weights stay in a safetensors file.

The graph takes the ids of one (query, document) pair, unpadded, so it needs no mask. Its initializers carry tensor
names and point to no data: the engine hands ONNX Runtime the arrays. The last layer works out the first token only,
since nothing else is read. `Float32` and `Int8` are the two ways to write its matrices.
"""

from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import DTypeLike
from onnx import TensorProto, helper, numpy_helper

from bge_cpu.architecture import Architecture

_OPSETS = (helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1))
_IR_VERSION = 8
_INPUTS = ("input_ids", "token_type_ids")


class Graph:
    """Nodes and initializers under construction; every method that adds a node returns its output's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.weights: dict[str, tuple[int, ...]] = {}

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """A node with one output."""
        output = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=output, domain=domain, **attributes))
        return output

    def constant(self, value: Any, dtype: DTypeLike = np.int64) -> str:
        """A small value (axes, positions, zero points) that is written into the graph, once."""
        array = np.array(value, dtype)
        name = f"{array.dtype}_{array.tolist()}"
        if all(known.name != name for known in self.initializers):
            self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, name: str, *shape: int, dtype: int = TensorProto.FLOAT) -> str:
        """A tensor by name and shape; its data is given to the session, not to the graph."""
        tensor = TensorProto(name=name, data_type=dtype, dims=shape, data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value=".")
        self.initializers.append(tensor)
        self.weights[name] = shape
        return name

    def norm(self, x: str, name: str, size: int, epsilon: float) -> str:
        """Layer normalisation over the last axis."""
        weight, bias = self.weight(f"{name}.weight", size), self.weight(f"{name}.bias", size)
        return self.add("LayerNormalization", x, weight, bias, axis=-1, epsilon=epsilon)


class Linear(Protocol):
    """A way to write matrices; what `operand` makes of activations is what its own `dense` multiplies."""

    def operand(self, graph: Graph, x: str) -> Any:
        """Activations, (tokens, columns), ready to be multiplied by one or more matrices."""

    def dense(self, graph: Graph, operand: Any, name: str, rows: int, columns: int) -> str:
        """A linear layer, (tokens, columns) -> (tokens, rows)."""

    def rows(self, graph: Graph, name: str, rows: int, columns: int, ids: str) -> str:
        """The rows of a table, (tokens, columns)."""


class Float32:
    """Matrices as PyTorch lays them out, (out, in)."""

    def operand(self, graph: Graph, x: str) -> str:
        """What `dense` multiplies."""
        return x

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

    def operand(self, graph: Graph, x: str) -> tuple[str, str]:
        """The codes of x, uint8 around 128, and the tokens' scales, float32, (tokens, 1)."""
        peak = graph.add("ReduceMax", graph.add("Abs", x), axes=[-1], keepdims=0)
        peak = graph.add("Max", peak, graph.constant([1e-12], np.float32))
        scale = graph.add("Mul", peak, graph.constant([1 / 127], np.float32))
        zeros = graph.add("Expand", graph.constant([128], np.uint8), graph.add("Shape", scale))
        codes = graph.add("QuantizeLinear", x, scale, zeros, axis=0)
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


def build(a: Architecture, linear: Linear) -> tuple[onnx.ModelProto, dict[str, tuple[int, ...]]]:
    """The graph of one pair, and the names and shapes of the tensors it wants.

    Args:
        a: What to build.
        linear: How its matrices are written; the head's, which see one token only, are float32 in any case.

    Returns:
        A model from `input_ids` and `token_type_ids` (int64, (tokens,)) to `logit` (float32, (1, 1)), and a mapping
        of tensor name to shape.
    """
    graph, head = Graph(), Float32()
    x = _embeddings(graph, linear, a)
    for number in range(a.layers):
        x = _layer(graph, linear, a, number, x)
    dense, out = a.head
    pooled = graph.add("Tanh", head.dense(graph, x, dense, a.hidden, a.hidden))
    head.dense(graph, pooled, out, 1, a.hidden)
    graph.nodes[-1].output[0] = "logit"
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["tokens"]) for name in _INPUTS]
    outputs = [helper.make_tensor_value_info("logit", TensorProto.FLOAT, [1, 1])]
    onnx_graph = helper.make_graph(graph.nodes, "bge-cpu", inputs, outputs, graph.initializers)
    return helper.make_model(onnx_graph, opset_imports=_OPSETS, ir_version=_IR_VERSION), graph.weights


def _embeddings(graph: Graph, linear: Linear, a: Architecture) -> str:
    """Ids -> (tokens, hidden): the sum of word, token-type and position embeddings, normalised."""
    names = f"{a.prefix}.embeddings"
    types = graph.weight(f"{names}.token_type_embeddings.weight", a.token_types, a.hidden)
    positions = graph.weight(f"{names}.position_embeddings.weight", a.positions, a.hidden)
    words = linear.rows(graph, a.word_embeddings, a.vocabulary, a.hidden, "input_ids")
    first = graph.constant([a.position_offset])
    end = graph.add("Add", first, graph.add("Shape", "input_ids"))
    x = graph.add("Add", words, graph.add("Gather", types, "token_type_ids"))
    x = graph.add("Add", x, graph.add("Slice", positions, first, end, graph.constant([0])))
    return graph.norm(x, f"{names}.LayerNorm", a.hidden, a.epsilon)


def _layer(graph: Graph, linear: Linear, a: Architecture, number: int, x: str) -> str:
    """One encoder layer, (tokens, hidden) -> (tokens, hidden); the last one -> (1, hidden), its first token."""

    def dense(operand: Any, name: str, rows: int = a.hidden, columns: int = a.hidden) -> str:
        return linear.dense(graph, operand, f"{a.prefix}.encoder.layer.{number}.{name}", rows, columns)

    def add_norm(x: str, residual: str, name: str) -> str:
        names = f"{a.prefix}.encoder.layer.{number}.{name}"
        return graph.norm(graph.add("Add", x, residual), names, a.hidden, a.epsilon)

    zero = graph.constant([0])
    inputs = first = linear.operand(graph, x)
    if number == a.layers - 1:
        x = graph.add("Slice", x, zero, graph.constant([1]), zero)
        first = linear.operand(graph, x)
    parts = [
        dense(first, "attention.self.query"),
        *(dense(inputs, f"attention.self.{part}") for part in ("key", "value")),
    ]
    parts = [graph.add("Unsqueeze", part, zero) for part in parts]
    attended = graph.add("MultiHeadAttention", *parts, domain="com.microsoft", num_heads=a.heads)
    attended = dense(linear.operand(graph, graph.add("Squeeze", attended, zero)), "attention.output.dense")
    attended = add_norm(attended, x, "attention.output.LayerNorm")
    wide = dense(linear.operand(graph, attended), "intermediate.dense", rows=a.intermediate)
    wide = linear.operand(graph, graph.add("Gelu", wide, domain="com.microsoft"))
    return add_norm(dense(wide, "output.dense", columns=a.intermediate), attended, "output.LayerNorm")
