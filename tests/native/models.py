"""Random models for the kernels, and the same forward pass in plain numpy, float32."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bge_cpu.checkpoint.architecture import Architecture
from bge_cpu.kernels.library import Kernels, Library
from bge_cpu.kernels.model import Model, expected
from bge_cpu.kernels.pack import MatrixClass, pack_matrix, unpack_matrix
from bge_cpu.quantization.quantize import quantize_rows, row_scales

Float = NDArray[np.float32]
Pair = tuple[NDArray[np.int32], NDArray[np.int32]]  # input_ids, token_type_ids

SMALL = Architecture(
    prefix="bert",
    head=("bert.pooler.dense", "classifier"),
    position_offset=0,
    hidden=96,
    layers=3,
    heads=4,
    intermediate=160,
    vocabulary=300,
    positions=2048,
    token_types=2,
    epsilon=1e-5,
)


def serial_of(library: Library) -> Kernels:
    """The plain reference, which every library has."""
    found = library.named("serial")
    assert found is not None
    return found


def random_weights(sizes: Architecture, kind: MatrixClass, seed: int = 0) -> dict[str, Float]:
    """A checkpoint's tensors: matrices (outputs, inputs)."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, (_, shape) in expected(sizes, kind).items():
        if ".weight." in name:
            continue
        if len(shape) == 4:
            shape = shape[0] * shape[2], shape[1] * 4
        spread = shape[-1] ** -0.5 if len(shape) == 2 and "embeddings" not in name else 0.3
        weights[name] = (rng.standard_normal(shape) * spread + ("LayerNorm.weight" in name)).astype(np.float32)
    return weights


def packed_model(library: Library, kind: MatrixClass, sizes: Architecture, weights: dict[str, Float]) -> Model:
    """The model that the kernels run, and the weights that its codes stand for put back into `weights`."""
    tensors: dict[str, NDArray[Any]] = {}
    for name, (dtype, shape) in expected(sizes, kind).items():
        if ".weight." in name:
            continue
        if dtype == "float32":
            tensors[name] = weights[name]
        elif len(shape) == 2:
            tensors[f"{name}.scales"] = scales = row_scales(weights[name])
            tensors[name] = quantize_rows(weights[name], scales)
            weights[name] = tensors[name] * scales[:, None]
        else:
            packed = pack_matrix(weights[name], kind)
            tensors |= {name: packed.codes, f"{name}.sums": packed.sums, f"{name}.scales": packed.scales}
            if packed.multipliers is not None:
                tensors[f"{name}.multipliers"] = packed.multipliers
            weights[name] = unpack_matrix(packed, kind)
    return Model(library, kind, sizes, tensors)


def random_pairs(sizes: Architecture, lengths: Sequence[int], seed: int = 0) -> list[Pair]:
    """Pairs of so many tokens."""
    rng = np.random.default_rng(seed)
    return [
        (rng.integers(0, sizes.vocabulary, n).astype(np.int32), rng.integers(0, sizes.token_types, n).astype(np.int32))
        for n in lengths
    ]


def run_of(pairs: Sequence[Pair]) -> list[NDArray[np.int32]]:
    """What `Model.logits` reads."""
    lengths = [len(ids) for ids, _ in pairs]
    columns = [np.concatenate(column) for column in zip(*pairs, strict=True)]
    return [*columns, np.concatenate([np.arange(n, dtype=np.int32) for n in lengths]), np.cumsum([0, *lengths])]


def reference(sizes: Architecture, weights: dict[str, Float], pair: Pair) -> float:
    """The logit of one pair."""
    x = (
        weights[f"{sizes.prefix}.embeddings.word_embeddings.weight"][pair[0]]
        + weights[f"{sizes.prefix}.embeddings.token_type_embeddings.weight"][pair[1]]
        + weights[f"{sizes.prefix}.embeddings.position_embeddings.weight"][: len(pair[0])]
    )

    def norm(x: Float, name: str) -> Float:
        x = x - x.mean(axis=1, keepdims=True)
        x = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + sizes.epsilon)
        scaled: Float = x * weights[f"{name}.weight"] + weights[f"{name}.bias"]
        return scaled

    def dense(x: Float, name: str) -> Float:
        product: Float = x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
        return product

    x = norm(x, f"{sizes.prefix}.embeddings.LayerNorm")
    for number in range(sizes.layers):
        layer = f"{sizes.prefix}.encoder.layer.{number}"
        q, k, v = (dense(x, f"{layer}.attention.self.{part}") for part in ("query", "key", "value"))
        heads = zip(*(np.split(part, sizes.heads, axis=1) for part in (q, k, v)), strict=True)
        attended = np.hstack([attention(*head) for head in heads])
        x = norm(x + dense(attended, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm")
        wide = gelu(dense(x, f"{layer}.intermediate.dense"))
        x = norm(x + dense(wide, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    pooled = np.tanh(dense(x[:1], sizes.head[0]))
    return float(dense(pooled, sizes.head[1])[0, 0])


def attention(query: Float, key: Float, value: Float) -> Float:
    """One head of one pair, in float64."""
    scores = query.astype(np.float64) @ key.T.astype(np.float64) / np.sqrt(query.shape[1])
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    attended: Float = (weights / weights.sum(axis=1, keepdims=True)) @ value.astype(np.float64)
    return attended


def gelu(x: NDArray[Any]) -> NDArray[Any]:
    """The erf form, with erf by Abramowitz and Stegun 7.1.26, within 1.5e-7."""
    z = np.abs(x.astype(np.float64)) / np.sqrt(2)
    t = 1 / (1 + 0.3275911 * z)
    tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = np.sign(x) * (1 - tail * np.exp(-z * z))
    found: NDArray[Any] = x * (1 + erf) / 2
    return found
