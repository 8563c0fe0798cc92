"""The native kernels against the peak of their own instructions: GOP/s per matrix shape, and of attention, on one core.

    python benchmarks/native.py [--kernels NAME] [--library FILE]

Peaks are measured in the same run, by a loop of the instruction; times are this thread's CPU time, the best of many.
`onnx` is ONNX Runtime's MatMulIntegerToFloat, the product of the mode onnx-int8, on the same shapes and one thread.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from bge_cpu.kernels.library import FILE, Attention, Kernels, Library, Matrix, Product
from bge_cpu.kernels.model import Scratch
from bge_cpu.kernels.pack import CLASSES, pack_matrix

SHAPES = [(1024, 1024), (1024, 4096), (4096, 1024), (384, 384), (384, 1536), (1536, 384)]  # inputs, outputs
ATTENTION = [(128, 64), (256, 64), (512, 64), (2048, 64), (256, 32)]  # tokens, size of a head
ROWS = 240


def best(work: Callable[[], object], seconds: float = 0.4) -> float:
    """The shortest of many runs, in seconds of this thread's CPU time; the first one only warms up."""
    work()
    shortest, end = float("inf"), time.monotonic() + seconds
    while time.monotonic() < end:
        begin = time.thread_time()
        work()
        shortest = min(shortest, time.thread_time() - begin)
    return shortest


def aligned(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Zeros that begin on a page, as a mapped artifact does."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(size + 4096, np.uint8)
    start = -memory.ctypes.data % 4096
    return memory[start : start + size].view(dtype).reshape(shape)


def peak(library: Library, kernels: Kernels, *, integer: bool) -> float:
    """GOP/s of a loop of the instruction."""
    rounds = 200_000
    operations: int = 2 * library.c.bge_peak(kernels.address, int(integer), rounds)
    return operations / best(lambda: library.c.bge_peak(kernels.address, int(integer), rounds)) * 1e-9


def product(library: Library, kernels: Kernels, inputs: int, outputs: int) -> float:
    """GOP/s of a product with what follows it in the forward pass: Gelu where it grows, the residual where not."""
    rng, kind = np.random.default_rng(0), CLASSES[kernels.kind]
    packed = pack_matrix(rng.standard_normal((outputs, inputs)).astype(np.float32), kind)
    codes, activations = aligned(packed.codes.shape, np.int8), aligned((ROWS, inputs), np.uint8)
    codes[:], activations[:] = packed.codes, rng.integers(0, 100, (ROWS, inputs))
    scales, zeros, bias = np.ones(ROWS, np.float32), np.full(ROWS, 50, np.int32), np.zeros(outputs, np.float32)
    out, residual = aligned((ROWS, outputs), np.float32), aligned((ROWS, outputs), np.float32)
    multipliers = packed.multipliers
    task = Product(
        codes=activations.ctypes.data,
        scales=scales.ctypes.data,
        zeros=zeros.ctypes.data,
        inputs=inputs,
        outputs=outputs,
        matrix=Matrix(
            codes.ctypes.data,
            None if multipliers is None else multipliers.ctypes.data,
            packed.sums.ctypes.data,
            packed.scales.ctypes.data,
            bias.ctypes.data,
        ),
        out=out.ctypes.data,
        residual=None if outputs > inputs else residual.ctypes.data,
        gelu=outputs > inputs,
    )
    of_class = library.c.bge_class_named(kernels.kind.encode())
    seconds = best(lambda: library.c.bge_multiply(kernels.address, of_class, task, ROWS))
    return 2 * ROWS * inputs * outputs / seconds * 1e-9


def attention(library: Library, kernels: Kernels, tokens: int, size: int, heads: int = 4) -> float:
    """GFLOP/s of attention: both its products, packing and softmax included."""
    rng, width = np.random.default_rng(0), heads * size
    query, key, value, out = (aligned((tokens, width), np.float32) for _ in range(4))
    for array in (query, key, value):
        array[:] = rng.standard_normal((tokens, width))
    task = Attention(*(array.ctypes.data for array in (query, key, value, out)), width, tokens, tokens, size)
    scratch = Scratch(library)

    def work() -> None:
        for head in range(heads):
            library.c.bge_attend(kernels.address, task, head, scratch.address)

    return 4 * heads * tokens * tokens * size / best(work) * 1e-9


def onnx_product(inputs: int, outputs: int) -> float:
    """GOP/s of MatMulIntegerToFloat."""
    rng = np.random.default_rng(0)
    weights = {
        "weight": rng.integers(-63, 64, (inputs, outputs)).astype(np.int8),
        "scale": np.float32(0.01),
        "scales": np.full(outputs, 0.01, np.float32),
        "zero": np.uint8(128),
        "bias": np.zeros(outputs, np.float32),
    }
    names = ["x", "weight", "scale", "scales", "zero", "", "bias"]
    graph = helper.make_graph(
        [helper.make_node("MatMulIntegerToFloat", names, ["y"], domain="com.microsoft")],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [ROWS, inputs])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [ROWS, outputs])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    codes = rng.integers(0, 256, (ROWS, inputs)).astype(np.uint8)
    return 2 * ROWS * inputs * outputs / best(lambda: session.run(None, {"x": codes})) * 1e-9


def main() -> None:
    """Measure, print a table, and JSON after it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernels", help="another than the fastest that runs here")
    parser.add_argument("--library", type=Path, default=FILE)
    arguments = parser.parse_args()
    library = Library(arguments.library)
    kernels = library.named(arguments.kernels) if arguments.kernels else library.best()
    if kernels is None or not kernels.run_here or not kernels.kind:
        sys.exit("no such kernels run here")
    integer, single = peak(library, kernels, integer=True), peak(library, kernels, integer=False)
    print(
        f"{kernels.name}: peak {integer:.0f} GOP/s in INT8, {single:.0f} GFLOP/s in attention's products; {ROWS} rows"
    )
    rows = []
    for inputs, outputs in SHAPES:
        found, other = product(library, kernels, inputs, outputs), onnx_product(inputs, outputs)
        rows.append({"inputs": inputs, "outputs": outputs, "gops": found, "of_peak": found / integer, "onnx": other})
        print(f"{inputs:5} -> {outputs:5}  {found:6.1f} GOP/s  {found / integer:4.0%} of peak   onnx {other:6.1f}")
    for tokens, size in ATTENTION:
        found = attention(library, kernels, tokens, size)
        rows.append({"tokens": tokens, "size": size, "gflops": found, "of_peak": found / single})
        print(f"attention, {tokens:4} tokens, heads of {size}  {found:6.1f} GFLOP/s  {found / single:4.0%} of peak")
    machine = {"machine": platform.processor() or platform.machine(), "onnxruntime": version("onnxruntime")}
    print(json.dumps({**machine, "kernels": kernels.name, "peak": integer, "float_peak": single, "rows": rows}))


if __name__ == "__main__":
    main()
