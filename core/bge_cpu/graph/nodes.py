"""Part of step 3: the nodes and initializers of an ONNX graph under construction."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import DTypeLike
from onnx import TensorProto, helper, numpy_helper


class Graph:
    """Nodes and initializers under construction; every method that adds a node returns its output's name.

    Args:
        outer: For a branch or the body of a loop: the graph around it, whose values it sees, and whose initializers
            and numbering it shares.
    """

    def __init__(self, outer: "Graph | None" = None) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[TensorProto] = outer.initializers if outer else []
        self.weights: dict[str, tuple[int, ...]] = outer.weights if outer else {}
        self._numbers: itertools.count[int] = outer._numbers if outer else itertools.count()

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """A node with one output."""
        output = f"{op}_{next(self._numbers)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=output, domain=domain, **attributes))
        return output

    def closed(self, outputs: Mapping[str, int], inputs: Sequence[onnx.ValueInfoProto] = ()) -> onnx.GraphProto:
        """This graph as the attribute of a node, with outputs of the given types."""
        values = [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()]
        return helper.make_graph(self.nodes, f"inner_{next(self._numbers)}", list(inputs), values)

    def constant(self, value: Any, dtype: DTypeLike = np.int64) -> str:
        """A small value (axes, positions, zero points) that is written into the graph, once."""
        array = np.array(value, dtype)
        name = f"{array.dtype}_{array.shape}_{array.tolist()}"
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

    def norm(self, rows: str, name: str, size: int, epsilon: float) -> str:
        """Layer normalisation over the last axis."""
        weight, bias = self.weight(f"{name}.weight", size), self.weight(f"{name}.bias", size)
        return self.add("LayerNormalization", rows, weight, bias, axis=-1, epsilon=epsilon)
