"""ONNX Runtime's matrix products with all cores busy: MatMul, and MatMulIntegerToFloat."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from contest.gemm import ROWS, Rates, fastest

TYPES = {"fp32": np.float32, "int8": np.uint8}  # of the activations


def measure(shapes: list[list[int]], threads: int) -> Rates:
    """The best rate of all cores together for each shape; every core multiplies for itself."""
    with ThreadPoolExecutor(threads) as pool:

        def rate(kind: str, inner: int, columns: int, rows: int) -> float:
            """Of one product on all cores."""
            run, x = session(kind, inner, columns).run, np.ones((rows, inner), TYPES[kind])
            seconds = fastest(lambda: list(pool.map(lambda _: run(None, {"x": x}), range(threads))))
            return 2 * rows * inner * columns * threads / seconds / 1e9

        return {
            kind: [max(rate(kind, inner, columns, rows) for rows in ROWS) for inner, columns in shapes]
            for kind in TYPES
        }


def session(kind: str, inner: int, columns: int) -> onnxruntime.InferenceSession:
    """A session of one product with a random matrix, on one thread."""
    rng, scale = np.random.default_rng(0), np.float32(0.01)
    if kind == "fp32":
        constants = {"weight": rng.standard_normal((inner, columns), np.float32)}
        node, x = helper.make_node("MatMul", ["x", *constants], ["y"]), TensorProto.FLOAT
    else:
        weight = rng.integers(-127, 128, (inner, columns), np.int8)
        constants = {"weight": weight, "x.scale": scale, "scales": np.full(columns, scale), "zero": np.uint8(128)}
        node = helper.make_node("MatMulIntegerToFloat", ["x", *constants], ["y"], domain="com.microsoft")
        x = TensorProto.UINT8
    inputs = [helper.make_tensor_value_info("x", x, ("rows", inner))]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("rows", columns))]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph([node], "product", inputs, outputs, tensors)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options)
