"""Part of step 3: the two ways to feed a graph, over the same tensors.

`OnePair` is what the engines run; `Batch` is what the export writes for other programs. Tokens are rows, whichever pair
they belong to.
"""

from collections.abc import Sequence

from onnx import TensorProto

from bge_cpu.architecture import Architecture
from bge_cpu.nodes import Graph


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
