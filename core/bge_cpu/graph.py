"""Part of step 3: architecture -> ONNX graph of one pair; the weights stay in the checkpoint's own file.

The graph takes the ids of one (query, document) pair, unpadded, so it needs no mask. Its initializers carry the
checkpoint's tensor names and point to no data: the engine hands ONNX Runtime the arrays. `Gemm` with transB=1 takes
PyTorch's (out, in) layout as it is. The last layer works out the first token only, since nothing else is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bge_cpu.checkpoint import position_offset
from bge_cpu.errors import CheckpointError

_OPSETS = (helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1))
_IR_VERSION = 8
_INPUTS = ("input_ids", "token_type_ids")


@dataclass(frozen=True)
class Architecture:
    """A BERT-like encoder with a one-label head; the fields are those of its config.json.

    Attributes:
        prefix: What the encoder's tensor names begin with.
        head: The tensor names of the head's two linear layers.
        position_offset: The row of the position table that belongs to the first token.
    """

    prefix: str
    head: tuple[str, str]
    position_offset: int
    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int
    token_types: int
    epsilon: float

    @property
    def word_embeddings(self) -> str:
        """The name of the table that a pair reads a row per token of."""
        return f"{self.prefix}.embeddings.word_embeddings.weight"

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Architecture":
        """Read a config.json.

        Raises:
            CheckpointError: The ONNX modes do not know this architecture or one of its settings.
        """
        found = (config.get("architectures") or ["none named"])[0]
        if found not in _FAMILIES:
            raise CheckpointError(
                f"architecture {found} is not one the ONNX modes run: {', '.join(_FAMILIES)}",
                hint='mode="fp32" takes any one-label sequence classifier that transformers itself ships',
            )
        for setting, supported in (("hidden_act", "gelu"), ("position_embedding_type", "absolute")):
            if config.get(setting, supported) != supported:
                raise CheckpointError(
                    f"{setting} is {config[setting]!r}; the ONNX modes run {supported!r}", hint='use mode="fp32"'
                )
        prefix, head = _FAMILIES[found]
        try:
            return cls(
                prefix=prefix,
                head=head,
                position_offset=position_offset(config),
                hidden=config["hidden_size"],
                layers=config["num_hidden_layers"],
                heads=config["num_attention_heads"],
                intermediate=config["intermediate_size"],
                vocabulary=config["vocab_size"],
                positions=config["max_position_embeddings"],
                token_types=config["type_vocab_size"],
                epsilon=config["layer_norm_eps"],
            )
        except KeyError as error:
            raise CheckpointError(f"config.json of the {found} checkpoint lacks {error}") from error


_FAMILIES = {
    "XLMRobertaForSequenceClassification": ("roberta", ("classifier.dense", "classifier.out_proj")),
    "RobertaForSequenceClassification": ("roberta", ("classifier.dense", "classifier.out_proj")),
    "BertForSequenceClassification": ("bert", ("bert.pooler.dense", "classifier")),
}


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

    def integers(self, *values: int) -> str:
        """A small list of numbers (axes, positions) that is written into the graph."""
        name = f"integers_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def weight(self, name: str, *shape: int) -> str:
        """A tensor of the checkpoint, by name and shape; its data is given to the session, not to the graph."""
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value=".")
        self.initializers.append(tensor)
        self.weights[name] = shape
        return name

    def dense(self, x: str, name: str, rows: int, columns: int) -> str:
        """A linear layer of the checkpoint, (tokens, columns) -> (tokens, rows)."""
        weight, bias = self.weight(f"{name}.weight", rows, columns), self.weight(f"{name}.bias", rows)
        return self.add("Gemm", x, weight, bias, transB=1)

    def norm(self, x: str, name: str, size: int, epsilon: float) -> str:
        """Layer normalisation over the last axis."""
        weight, bias = self.weight(f"{name}.weight", size), self.weight(f"{name}.bias", size)
        return self.add("LayerNormalization", x, weight, bias, axis=-1, epsilon=epsilon)


def build(architecture: Architecture) -> tuple[onnx.ModelProto, dict[str, tuple[int, ...]]]:
    """The graph of one pair, and the names and shapes of the checkpoint's tensors it wants.

    Returns:
        A model from `input_ids` and `token_type_ids` (int64, (tokens,)) to `logit` (float32, (1, 1)), and a mapping
        of tensor name to shape.
    """
    graph = Graph()
    x = _embeddings(graph, architecture)
    for number in range(architecture.layers):
        x = _layer(graph, architecture, number, x)
    dense, out = architecture.head
    pooled = graph.add("Tanh", graph.dense(x, dense, architecture.hidden, architecture.hidden))
    graph.dense(pooled, out, 1, architecture.hidden)
    graph.nodes[-1].output[0] = "logit"
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["tokens"]) for name in _INPUTS]
    outputs = [helper.make_tensor_value_info("logit", TensorProto.FLOAT, [1, 1])]
    onnx_graph = helper.make_graph(graph.nodes, "bge-cpu", inputs, outputs, graph.initializers)
    return helper.make_model(onnx_graph, opset_imports=_OPSETS, ir_version=_IR_VERSION), graph.weights


def _embeddings(graph: Graph, a: Architecture) -> str:
    """Ids -> (tokens, hidden): the sum of word, token-type and position embeddings, normalised."""
    names = f"{a.prefix}.embeddings"
    words = graph.weight(a.word_embeddings, a.vocabulary, a.hidden)
    types = graph.weight(f"{names}.token_type_embeddings.weight", a.token_types, a.hidden)
    positions = graph.weight(f"{names}.position_embeddings.weight", a.positions, a.hidden)
    first = graph.integers(a.position_offset)
    end = graph.add("Add", first, graph.add("Shape", "input_ids"))
    x = graph.add("Add", graph.add("Gather", words, "input_ids"), graph.add("Gather", types, "token_type_ids"))
    x = graph.add("Add", x, graph.add("Slice", positions, first, end, graph.integers(0)))
    return graph.norm(x, f"{names}.LayerNorm", a.hidden, a.epsilon)


def _layer(graph: Graph, a: Architecture, number: int, x: str) -> str:
    """One encoder layer, (tokens, hidden) -> (tokens, hidden); the last one -> (1, hidden), its first token."""
    names = f"{a.prefix}.encoder.layer.{number}"
    zero = graph.integers(0)
    rows = graph.add("Slice", x, zero, graph.integers(1), zero) if number == a.layers - 1 else x
    query = graph.dense(rows, f"{names}.attention.self.query", a.hidden, a.hidden)
    key, value = (graph.dense(x, f"{names}.attention.self.{part}", a.hidden, a.hidden) for part in ("key", "value"))
    batched = [graph.add("Unsqueeze", part, zero) for part in (query, key, value)]
    attended = graph.add("MultiHeadAttention", *batched, domain="com.microsoft", num_heads=a.heads)
    attended = graph.add("Squeeze", attended, zero)
    attended = graph.dense(attended, f"{names}.attention.output.dense", a.hidden, a.hidden)
    attended = graph.norm(graph.add("Add", attended, rows), f"{names}.attention.output.LayerNorm", a.hidden, a.epsilon)
    wide = graph.dense(attended, f"{names}.intermediate.dense", a.intermediate, a.hidden)
    wide = graph.add("Gelu", wide, domain="com.microsoft")
    narrow = graph.dense(wide, f"{names}.output.dense", a.hidden, a.intermediate)
    return graph.norm(graph.add("Add", narrow, attended), f"{names}.output.LayerNorm", a.hidden, a.epsilon)
