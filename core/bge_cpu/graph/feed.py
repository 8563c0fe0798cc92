"""Part of step 3: the two ways in which pairs enter a graph, over the same tensors.

`Packed` is what the engines run, without padding; `Batch` is what the export writes for other programs:

    Packed   q1 d1 | q2 d2 d2 | q3 d3            tokens of all pairs in one row, cu_seqlens = 0, 2, 5, 7

    Batch    q1 d1 --                            a row per pair, padded to one length, with a mask
             q2 d2 d2
             q3 d3 --

Linear layers, norms and Gelu work on tokens one by one and need not know where a pair begins. Only positions, attention
and the pick of each pair's first token do; these are the methods that the two classes have in common.
"""

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto, helper

from bge_cpu.checkpoint.architecture import Architecture
from bge_cpu.graph.nodes import Graph


class Packed:
    """Pairs without padding, (tokens,): nothing to mask, and attention runs pair by pair."""

    inputs = dict.fromkeys(("input_ids", "token_type_ids", "position_ids"), ("tokens",)) | {"cu_seqlens": ("bounds",)}
    output: tuple[str, Sequence[int | str]] = "logits", ("pairs", 1)
    ids, types = "input_ids", "token_type_ids"

    def __init__(self, graph: Graph, architecture: Architecture) -> None:
        self._graph, self._a = graph, architecture
        self._starts = graph.add("Slice", "cu_seqlens", graph.constant([0]), graph.constant([-1]))
        self._pairs = graph.add("Size", self._starts)
        self._alone = graph.add("Equal", self._pairs, graph.constant(1))

    def positions(self, table: str) -> str:
        """The tokens' rows of the position table, (tokens, hidden)."""
        return self._graph.add("Gather", table, "position_ids")

    def first(self, tokens: str) -> str:
        """Each pair's first token, (tokens, hidden) -> (pairs, hidden)."""
        return self._graph.add("Gather", tokens, self._starts)

    def attend(self, *parts: str, of_first: bool) -> str:
        """Attention within each pair, of query, key and value, (tokens, hidden) each -> (the query's tokens, hidden).

        With `of_first`, the query holds the pairs' first tokens only, (pairs, hidden). The graph decides at run time:

            If one pair:  attention over all rows
            else:         Loop over the pairs: cut the pair's rows out of query, key and value at cu_seqlens,
                          attention over them, append the result to what the loop has so far

        A lone pair, most often a long one, is spared what cutting and appending cost.
        """
        alone, several = Graph(self._graph), Graph(self._graph)
        direct, each = self._attention(alone, *parts), self._loop(several, *parts, of_first=of_first)
        return self._graph.add(
            "If",
            self._alone,
            then_branch=alone.closed({direct: TensorProto.FLOAT}),
            else_branch=several.closed({each: TensorProto.FLOAT}),
        )

    def _loop(self, graph: Graph, query: str, key: str, value: str, *, of_first: bool) -> str:
        body, zero = Graph(graph), graph.constant([0])
        number, so_far, going = f"{query}.number", f"{query}.so_far", f"{query}.going"
        pair = body.add("Unsqueeze", number, zero)
        after = body.add("Add", pair, graph.constant([1]))
        rows = body.add("Gather", "cu_seqlens", pair), body.add("Gather", "cu_seqlens", after), zero
        own = body.add("Slice", query, *((pair, after, zero) if of_first else rows))
        attended = self._attention(body, own, body.add("Slice", key, *rows), body.add("Slice", value, *rows))
        outputs = {
            body.add("Identity", going): TensorProto.BOOL,
            body.add("Concat", so_far, attended, axis=0): TensorProto.FLOAT,
        }
        inputs = [
            helper.make_tensor_value_info(number, TensorProto.INT64, []),
            helper.make_tensor_value_info(going, TensorProto.BOOL, []),
            helper.make_tensor_value_info(so_far, TensorProto.FLOAT, [None, self._a.hidden]),
        ]
        true, nothing = graph.constant(True, np.bool_), graph.constant(np.empty((0, self._a.hidden)), np.float32)
        return graph.add("Loop", self._pairs, true, nothing, body=body.closed(outputs, inputs))

    def _attention(self, graph: Graph, *parts: str) -> str:
        zero = graph.constant([0])
        parts = tuple(graph.add("Unsqueeze", part, zero) for part in parts)
        attended = graph.add("MultiHeadAttention", *parts, domain="com.microsoft", num_heads=self._a.heads)
        return graph.add("Squeeze", attended, zero)


class Batch:
    """Pairs padded to one length, on the left or the right, (batch, tokens), with a mask of 1 at tokens, 0 at padding.

    Args:
        graph: Where the nodes go.
        architecture: What is built.
        typed: Whether token types are an input; if not, all tokens are of type 0.
    """

    output: tuple[str, Sequence[int | str]] = "logits", ("batch", 1)

    def __init__(self, graph: Graph, architecture: Architecture, *, typed: bool) -> None:
        self._graph, self._a = graph, architecture
        names = ("input_ids", "attention_mask", "token_type_ids")[: 3 if typed else 2]
        self.inputs = dict.fromkeys(names, ("batch", "tokens"))
        self.ids = self._rows("input_ids")
        self.types = self._rows("token_type_ids") if typed else graph.constant([0])
        pairs = graph.add("Shape", "input_ids", start=0, end=1)
        self._padded = graph.add("Concat", pairs, graph.constant([-1, architecture.hidden]), axis=0)
        self._mask = graph.add("Cast", "attention_mask", to=TensorProto.INT32)

    def positions(self, table: str) -> str:
        """The tokens' rows of the position table, counted from each pair's first token, as `engines.packing` does."""
        graph = self._graph
        if not self._a.position_offset:
            places = graph.add("CumSum", "attention_mask", graph.constant(1), exclusive=1)
            return graph.add("Gather", table, self._rows(places))
        pad = graph.constant(self._a.position_offset - 1)
        seen = graph.add("Cast", graph.add("Not", graph.add("Equal", "input_ids", pad)), to=TensorProto.INT64)
        seen = graph.add("Mul", seen, "attention_mask")
        places = graph.add("Add", graph.add("Mul", graph.add("CumSum", seen, graph.constant(1)), seen), pad)
        return graph.add("Gather", table, self._rows(places))

    def first(self, tokens: str) -> str:
        """Each pair's first unmasked token, (batch * tokens, hidden) -> (batch, hidden)."""
        place = self._graph.add("ArgMax", self._mask, axis=1, keepdims=1)
        return self._graph.add("GatherND", self._graph.add("Reshape", tokens, self._padded), place, batch_dims=1)

    def attend(self, *parts: str, of_first: bool) -> str:
        """Attention within each pair, (batch * tokens, hidden) each -> (the query's tokens, hidden)."""
        parts = (*(self._graph.add("Reshape", part, self._padded) for part in parts), "", self._mask)
        attended = self._graph.add("MultiHeadAttention", *parts, domain="com.microsoft", num_heads=self._a.heads)
        return self._graph.add("Reshape", attended, self._graph.constant([-1, self._a.hidden]))

    def _rows(self, tokens: str) -> str:
        return self._graph.add("Reshape", tokens, self._graph.constant([-1]))
