"""Every kernel file that runs here against serial.c: whole numbers exactly, floats within a stated bound."""

import ctypes
import os

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bge_cpu.kernels.library import Attention, Kernels, Library, Matrix, Product
from bge_cpu.kernels.model import Scratch
from bge_cpu.kernels.pack import CLASSES, pack_matrix, unpack_matrix
from tests.native.models import attention, gelu, serial_of

some = settings(
    max_examples=int(os.environ.get("BGE_TEST_EXAMPLES", "25")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
seeds = st.integers(0, 2**32 - 1)
magnitudes = st.sampled_from([0.0, 1e-38, 1e-20, 1e-3, 1.0, 100.0, 1e4, 1e20])


def at(array: NDArray[np.generic] | None) -> int | None:
    return None if array is None else array.ctypes.data


def activations(rng: np.random.Generator, rows: int, columns: int, magnitude: float) -> NDArray[np.float32]:
    """Rows with a few outliers, as a network has them."""
    x = rng.standard_normal((rows, columns)) * magnitude
    x[rng.random(x.shape) < 0.01] *= 30
    return (x + rng.standard_normal((rows, 1)) * magnitude).astype(np.float32)


def quantized(library: Library, kernels: Kernels, kind: str, x: NDArray[np.float32]) -> tuple[NDArray[np.generic], ...]:
    rows, columns = x.shape
    codes = np.empty((rows, columns), np.uint8)
    scales, zeros = np.empty(rows, np.float32), np.empty(rows, np.int32)
    of_class = library.c.bge_class_named(kind.encode())
    for row in range(rows):
        library.c.bge_quantize(
            kernels.address, of_class, at(x[row]), columns, at(codes[row]), at(scales[row:]), at(zeros[row:])
        )
    return codes, scales, zeros


@some
@given(seed=seeds, rows=st.integers(1, 4), columns=st.integers(1, 128), magnitude=magnitudes)
def test_quantize_is_serials(
    library: Library, kernels: Kernels, seed: int, rows: int, columns: int, magnitude: float
) -> None:
    x = activations(np.random.default_rng(seed), rows, 32 * columns, magnitude)
    mine = quantized(library, kernels, kernels.kind, x)
    for found, wanted in zip(mine, quantized(library, serial_of(library), kernels.kind, x), strict=True):
        np.testing.assert_array_equal(found, wanted)
    codes, scales, zeros = (part.astype(np.float64) for part in mine)
    if kernels.kind == "neon":
        codes = mine[0].view(np.int8).astype(np.float64)
    error = np.abs((codes - zeros[:, None]) * scales[:, None] - x)
    assert (error <= 1.01 * scales[:, None] + 1e-30).all()


def multiplied(
    library: Library,
    kernels: Kernels,
    x: tuple[NDArray[np.generic], ...],
    matrix: NDArray[np.float32],
    bias: NDArray[np.float32],
    residual: NDArray[np.float32] | None,
    use_gelu: bool,
    kind: str,
) -> NDArray[np.float32]:
    codes, scales, zeros = x
    packed = pack_matrix(matrix, CLASSES[kind])
    out = np.full((len(codes), len(matrix)), np.nan, np.float32)
    product = Product(
        codes=at(codes),
        scales=at(scales),
        zeros=at(zeros),
        inputs=codes.shape[1],
        outputs=len(matrix),
        matrix=Matrix(at(packed.codes), at(packed.multipliers), at(packed.sums), at(packed.scales), at(bias)),
        out=at(out),
        residual=at(residual),
        gelu=use_gelu,
    )
    library.c.bge_multiply(kernels.address, library.c.bge_class_named(kind.encode()), product, len(codes))
    return out


@some
@given(
    seed=seeds,
    rows=st.integers(1, 300),
    inputs=st.integers(1, 128),
    outputs=st.integers(1, 8),
    magnitude=magnitudes,
    extreme=st.booleans(),
    with_residual=st.booleans(),
)
def test_product_is_serials(
    library: Library,
    kernels: Kernels,
    seed: int,
    rows: int,
    inputs: int,
    outputs: int,
    magnitude: float,
    extreme: bool,
    with_residual: bool,
) -> None:
    rng = np.random.default_rng(seed)
    rows = min(rows, max(1, 2_000_000 // (32 * inputs * 32 * outputs)))
    x = quantized(library, kernels, kernels.kind, activations(rng, rows, 32 * inputs, magnitude))
    matrix = rng.standard_normal((32 * outputs, 32 * inputs)).astype(np.float32)
    if extreme:  # every code at its bound, activations at theirs: the largest sums there can be
        matrix = np.sign(matrix)
        x[0][:] = rng.choice([int(x[0].min()), int(x[0].max())], x[0].shape)
        x[0][0], matrix[0] = x[0].max(), 1
    bias = rng.standard_normal(32 * outputs).astype(np.float32)
    residual = rng.standard_normal((rows, 32 * outputs)).astype(np.float32) if with_residual else None
    mine = multiplied(library, kernels, x, matrix, bias, residual, False, kernels.kind)
    np.testing.assert_array_equal(
        mine, multiplied(library, serial_of(library), x, matrix, bias, residual, False, kernels.kind)
    )
    codes = x[0].view(np.int8) if kernels.kind == "neon" else x[0]
    values = (codes.astype(np.float64) - x[2].astype(np.float64)[:, None]) * x[1].astype(np.float64)[:, None]
    kind = CLASSES[kernels.kind]
    weights = unpack_matrix(pack_matrix(matrix, kind), kind).astype(np.float64)
    wanted = values @ weights.T + bias + (0 if residual is None else residual)
    largest = (np.abs(values) @ np.abs(weights.T)).max() + 10
    assert np.abs(mine - wanted).max() <= 1e-6 * largest


@some
@given(seed=seeds, magnitude=st.sampled_from([0.0, 1e-3, 1.0, 4.0, 50.0, 1e5]))
def test_gelu_is_within_its_bound(library: Library, kernels: Kernels, seed: int, magnitude: float) -> None:
    rng = np.random.default_rng(seed)
    x = quantized(library, kernels, kernels.kind, activations(rng, 7, 64, magnitude))
    matrix, bias = rng.standard_normal((96, 64)).astype(np.float32), rng.standard_normal(96).astype(np.float32)
    plain = multiplied(library, kernels, x, matrix, bias, None, False, kernels.kind)
    bent = multiplied(library, kernels, x, matrix, bias, None, True, kernels.kind)
    assert (np.abs(bent - gelu(plain)) <= 1.1e-5 * np.maximum(1, np.abs(plain))).all()
    zeros = multiplied(library, kernels, x, matrix * 0, bias * 0, None, True, kernels.kind)
    assert not zeros.any()


@some
@given(seed=seeds, size=st.integers(1, 128), magnitude=st.sampled_from([0.0, 1e-6, 1e-2, 1.0, 1e3]))
def test_norm_is_serials(library: Library, kernels: Kernels, seed: int, size: int, magnitude: float) -> None:
    rng = np.random.default_rng(seed)
    x = activations(rng, 1, 32 * size, magnitude)[0]
    weight, bias = (rng.standard_normal(32 * size).astype(np.float32) for _ in range(2))
    outs = [np.empty_like(x) for _ in range(2)]
    for found, out in zip((kernels, serial_of(library)), outs, strict=True):
        library.c.bge_norm(found.address, at(x), at(weight), at(bias), 1e-5, len(x), at(out))
    np.testing.assert_allclose(outs[0], outs[1], rtol=1e-4, atol=1e-4)


@some
@given(
    seed=seeds,
    tokens=st.one_of(st.integers(1, 70), st.integers(1, 2048)),
    queries=st.integers(1, 60),
    size=st.sampled_from([8, 16, 24, 32, 40, 64, 128]),
    magnitude=st.sampled_from([0.0, 0.1, 1.0, 30.0]),
)
def test_attention_is_serials(
    library: Library, kernels: Kernels, seed: int, tokens: int, queries: int, size: int, magnitude: float
) -> None:
    rng = np.random.default_rng(seed)
    queries = min(queries, max(1, 30_000 // tokens))
    query, key, value = (rng.standard_normal((n, 2 * size)).astype(np.float32) for n in (queries, tokens, tokens))
    query *= np.float32(magnitude)
    outs = []
    for found in (kernels, serial_of(library)):
        out = np.full_like(query, np.nan)
        problem = Attention(at(query), at(key), at(value), at(out), 2 * size, queries, tokens, size)
        scratch = Scratch(library)
        for head in range(2):
            assert library.c.bge_attend(found.address, ctypes.byref(problem), head, scratch.address) == 0
        outs.append(out)
    exact = attention(query[:, size:], key[:, size:], value[:, size:])
    np.testing.assert_allclose(outs[1][:, size:], exact, atol=2e-4)
    # bfloat16 has 8 bits: a score s of -s to s is off by up to s/128, which e^s takes over; values are off by 1/256.
    spread = float(np.abs(query).max() * np.abs(key).max() * size**0.5) if kernels.name == "avx512bf16" else 0.0
    bound = min(8.0, 0.02 * (1 + spread)) if kernels.name == "avx512bf16" else 2e-4
    np.testing.assert_allclose(outs[0], outs[1], atol=bound)
