"""Part of step 3: architecture -> ONNX graph; the weights stay in a safetensors file.

A graph names its tensors and holds none of their data: the engine hands ONNX Runtime the arrays, the export writes
down where in the safetensors file beside it they lie. The last layer computes each pair's first token only, since the
head reads nothing else.
"""

from collections.abc import Callable
from typing import Any

import onnx
from onnx import TensorProto, helper

from bge_cpu.checkpoint.architecture import Architecture
from bge_cpu.graph.feed import Batch, Packed
from bge_cpu.graph.linear import Float32, Linear
from bge_cpu.graph.nodes import Graph

_OPSETS = (helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1))
_IR_VERSION = 8


Feed = Packed | Batch
Built = tuple[onnx.ModelProto, dict[str, tuple[int, ...]]]


def build(architecture: Architecture, linear: Linear, feed: Callable[[Graph, Architecture], Feed] = Packed) -> Built:
    """The graph of a model, and the names and shapes of the tensors it wants.

    Args:
        architecture: What to build.
        linear: How its matrices are written; the head's, which see first tokens only, are float32 in any case.
        feed: `Packed`, from `input_ids`, `token_type_ids` and `position_ids`, (tokens,), and `cu_seqlens`, which says
            where each pair begins and the last one ends, (pairs + 1,), to `logits`, (pairs, 1); or `Batch`, from
            `input_ids`, `attention_mask` (0 at padding) and perhaps types, (batch, tokens), to `logits`, (batch, 1).

    Returns:
        A model from int64 inputs to float32 output, and a mapping of tensor name to shape.
    """
    graph, head, hidden = Graph(), Float32(), architecture.hidden
    x = _embeddings(graph, linear, architecture, source := feed(graph, architecture))
    for number in range(architecture.layers):
        x = _layer(graph, linear, architecture, source, number, x)
    dense, out = architecture.head
    pooled = graph.add("Tanh", head.dense(graph, x, dense, hidden, hidden))
    head.dense(graph, pooled, out, 1, hidden)
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
    if last := number == a.layers - 1:
        x = feed.first(x)
        first = linear.operand(graph, x)
    query = dense(first, "attention.self.query")
    key, value = (dense(inputs, f"attention.self.{part}") for part in ("key", "value"))
    attended = dense(linear.operand(graph, feed.attend(query, key, value, of_first=last)), "attention.output.dense")
    attended = add_norm(attended, x, "attention.output.LayerNorm")
    wide = dense(linear.operand(graph, attended), "intermediate.dense", rows=a.intermediate)
    wide = linear.operand(graph, graph.add("Gelu", wide, domain="com.microsoft"))
    return add_norm(dense(wide, "output.dense", columns=a.intermediate), attended, "output.LayerNorm")
