"""Part of step 3: architecture -> ONNX graph; the weights stay in a safetensors file.

`Float32` and `Int8` are the two ways to write its matrices; `OnePair`, which the engines run, and `Batch`, which the
export writes for other programs, the two ways to feed it, over the same tensors. Initializers carry their names and
point to no data: the engine hands ONNX Runtime the arrays, the export fills in where they lie. Tokens are rows,
whichever pair they belong to. The last layer works out each pair's first token only, since nothing else is read.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import DTypeLike
from onnx import TensorProto, helper, numpy_helper

from bge_cpu.architecture import Architecture

_OPSETS = (helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1))
_IR_VERSION = 8


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


class OnePair:
    """A pair's ids as they are, (tokens,): nothing to mask, and its first token is the first row."""

    inputs = dict.fromkeys(("input_ids", "token_type_ids"), ("tokens",))
    output: tuple[str, Sequence[int | str]] = "logit", (1, 1)
    ids, types = "input_ids", "token_type_ids"

    def __init__(self, graph: Graph, a: Architecture) -> None:
        self._graph, self._a = graph, a

    def positions(self, table: str) -> str:
        """The tokens' rows of the position table, (tokens, hidden)."""
        if self._a.position_offset:
            return self._graph.add("Gather", table, _counted(self._graph, self._a, self.ids, axis=0))
        first = self._graph.constant([self._a.position_offset])
        end = self._graph.add("Add", first, self._graph.add("Shape", self.ids))
        return self._graph.add("Slice", table, first, end, self._graph.constant([0]))

    def first(self, x: str) -> str:
        """The first token, (tokens, hidden) -> (1, hidden)."""
        zero = self._graph.constant([0])
        return self._graph.add("Slice", x, zero, self._graph.constant([1]), zero)

    def attend(self, *parts: str) -> str:
        """Attention of query, key and value, (tokens, hidden) each -> (the query's tokens, hidden)."""
        zero = self._graph.constant([0])
        parts = tuple(self._graph.add("Unsqueeze", part, zero) for part in parts)
        attended = self._graph.add("MultiHeadAttention", *parts, domain="com.microsoft", num_heads=self._a.heads)
        return self._graph.add("Squeeze", attended, zero)


class Batch:
    """Pairs padded on either side to one length, (batch, tokens), with a mask; not `typed`, all tokens are type 0."""

    output: tuple[str, Sequence[int | str]] = "logits", ("batch", 1)

    def __init__(self, graph: Graph, a: Architecture, *, typed: bool) -> None:
        self._graph, self._a = graph, a
        names = ("input_ids", "attention_mask", "token_type_ids")[: 3 if typed else 2]
        self.inputs = dict.fromkeys(names, ("batch", "tokens"))
        self.ids = self._rows("input_ids")
        self.types = self._rows("token_type_ids") if typed else graph.constant([0])
        pairs = graph.add("Shape", "input_ids", start=0, end=1)
        self._padded = graph.add("Concat", pairs, graph.constant([-1, a.hidden]), axis=0)
        self._mask = graph.add("Cast", "attention_mask", to=TensorProto.INT32)

    def positions(self, table: str) -> str:
        """The tokens' rows of the position table, counted from each pair's first token, (batch * tokens, hidden)."""
        if self._a.position_offset:
            places = _counted(self._graph, self._a, "input_ids", axis=1, mask="attention_mask")
        else:
            places = self._graph.add("CumSum", "attention_mask", self._graph.constant(1), exclusive=1)
        return self._graph.add("Gather", table, self._rows(places))

    def first(self, x: str) -> str:
        """Each pair's first unmasked token, (batch * tokens, hidden) -> (batch, hidden)."""
        place = self._graph.add("ArgMax", self._mask, axis=1, keepdims=1)
        return self._graph.add("GatherND", self._graph.add("Reshape", x, self._padded), place, batch_dims=1)

    def attend(self, *parts: str) -> str:
        """Attention within each pair, (batch * tokens, hidden) each -> (the query's tokens, hidden)."""
        parts = (*(self._graph.add("Reshape", part, self._padded) for part in parts), "", self._mask)
        attended = self._graph.add("MultiHeadAttention", *parts, domain="com.microsoft", num_heads=self._a.heads)
        return self._graph.add("Reshape", attended, self._graph.constant([-1, self._a.hidden]))

    def _rows(self, tokens: str) -> str:
        return self._graph.add("Reshape", tokens, self._graph.constant([-1]))


def _counted(graph: Graph, a: Architecture, ids: str, *, axis: int, mask: str | None = None) -> str:
    """Rows of the position table as RoBERTa's kin count them: a padding token, which a text may spell out, not at all.

    Such a token has the row of its own id, the last before the first position.
    """
    pad = graph.constant(a.position_offset - 1)
    seen = graph.add("Cast", graph.add("Not", graph.add("Equal", ids, pad)), to=TensorProto.INT64)
    seen = graph.add("Mul", seen, mask) if mask else seen
    return graph.add("Add", graph.add("Mul", graph.add("CumSum", seen, graph.constant(axis)), seen), pad)


Feed = OnePair | Batch
Built = tuple[onnx.ModelProto, dict[str, tuple[int, ...]]]


def build(a: Architecture, linear: Linear, feed: Callable[[Graph, Architecture], Feed] = OnePair) -> Built:
    """The graph of a model, and the names and shapes of the tensors it wants.

    Args:
        a: What to build.
        linear: How its matrices are written; the head's, which see first tokens only, are float32 in any case.
        feed: `OnePair`, from `input_ids` and `token_type_ids`, (tokens,), to `logit`, (1, 1); or `Batch`, from
            `input_ids`, `attention_mask` (0 at padding) and perhaps types, (batch, tokens), to `logits`, (batch, 1).

    Returns:
        A model from int64 inputs to float32 output, and a mapping of tensor name to shape.
    """
    graph, head = Graph(), Float32()
    x = _embeddings(graph, linear, a, source := feed(graph, a))
    for number in range(a.layers):
        x = _layer(graph, linear, a, source, number, x)
    dense, out = a.head
    pooled = graph.add("Tanh", head.dense(graph, x, dense, a.hidden, a.hidden))
    head.dense(graph, pooled, out, 1, a.hidden)
    name, shape = source.output
    graph.nodes[-1].output[0] = name
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, dims) for name, dims in source.inputs.items()]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
    onnx_graph = helper.make_graph(graph.nodes, "bge-cpu", inputs, outputs, graph.initializers)
    return helper.make_model(onnx_graph, opset_imports=_OPSETS, ir_version=_IR_VERSION), graph.weights


def _embeddings(graph: Graph, linear: Linear, a: Architecture, feed: Feed) -> str:
    """Ids -> (tokens, hidden): the sum of word, token-type and position embeddings, normalised."""
    names = f"{a.prefix}.embeddings"
    types = graph.weight(f"{names}.token_type_embeddings.weight", a.token_types, a.hidden)
    positions = graph.weight(f"{names}.position_embeddings.weight", a.positions, a.hidden)
    words = linear.rows(graph, a.word_embeddings, a.vocabulary, a.hidden, feed.ids)
    x = graph.add("Add", words, graph.add("Gather", types, feed.types))
    x = graph.add("Add", x, feed.positions(positions))
    return graph.norm(x, f"{names}.LayerNorm", a.hidden, a.epsilon)


def _layer(graph: Graph, linear: Linear, a: Architecture, feed: Feed, number: int, x: str) -> str:
    """One encoder layer, (tokens, hidden) -> (tokens, hidden); the last one -> (pairs, hidden), their first tokens."""

    def dense(operand: Any, name: str, rows: int = a.hidden, columns: int = a.hidden) -> str:
        return linear.dense(graph, operand, f"{a.prefix}.encoder.layer.{number}.{name}", rows, columns)

    def add_norm(x: str, residual: str, name: str) -> str:
        names = f"{a.prefix}.encoder.layer.{number}.{name}"
        return graph.norm(graph.add("Add", x, residual), names, a.hidden, a.epsilon)

    inputs = first = linear.operand(graph, x)
    if number == a.layers - 1:
        x = feed.first(x)
        first = linear.operand(graph, x)
    query = dense(first, "attention.self.query")
    key, value = (dense(inputs, f"attention.self.{part}") for part in ("key", "value"))
    attended = dense(linear.operand(graph, feed.attend(query, key, value)), "attention.output.dense")
    attended = add_norm(attended, x, "attention.output.LayerNorm")
    wide = dense(linear.operand(graph, attended), "intermediate.dense", rows=a.intermediate)
    wide = linear.operand(graph, graph.add("Gelu", wide, domain="com.microsoft"))
    return add_norm(dense(wide, "output.dense", columns=a.intermediate), attended, "output.LayerNorm")
