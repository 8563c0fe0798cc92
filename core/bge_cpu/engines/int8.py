"""Mode "int8": PyTorch's dynamic quantisation, but for the matrices whose INT8 form would wreck rankings.

The second feed-forward matrix of a layer reads a few huge activations; in INT8 they cost all others their precision,
and rankings suffer. It is the one that narrows, and every matrix that narrows stays float32.
"""

import contextlib
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.ao.nn.quantized.dynamic import Linear as DynamicLinear
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from bge_cpu.checkpoint import Checkpoint
from bge_cpu.checkpoint.weights import Tensors, Weights
from bge_cpu.engines.fp32 import TorchEngine, apart, load_model
from bge_cpu.machine.cpu import int8_class
from bge_cpu.quantization.artifacts import Recipe
from bge_cpu.quantization.quantize import check_finite, quantize_rows, row_scales

VERSION = 1
"""Goes up when the same checkpoint would give other tensors."""


def recipe(checkpoint: Checkpoint) -> Recipe:
    """How a checkpoint that transformers loads becomes this mode's artifact: the INT8 matrices alone."""
    return Recipe(mode="int8", version=VERSION, cpu_class=int8_class(), tensors=lambda: _tensors(checkpoint))


def from_file(checkpoint: Checkpoint, file: Path, *, threads: int) -> TorchEngine:
    """The engine whose INT8 matrices are an artifact's; all else is loaded with transformers.

    Raises:
        CheckpointError: transformers cannot build the model, or the checkpoint lacks some of its tensors.
    """
    model = load_model(checkpoint, torch.float32)
    _set_matrices(model, Weights([file]))
    return TorchEngine(model, threads=threads, batch_pairs=8, batch_tokens=4096)


@apart
def _set_matrices(model: PreTrainedModel, weights: Weights) -> None:
    """Put an artifact's matrices into their places in a model."""
    with _fastest_engine():
        for name in [name.removesuffix(".scales") for name in weights if name.endswith(".scales")]:
            parent, _, child = name.rpartition(".")
            linear = model.get_submodule(name)
            setattr(model.get_submodule(parent), child, _dynamic(linear, weights[name], weights[f"{name}.scales"]))


def _tensors(checkpoint: Checkpoint) -> tuple[int, Tensors]:
    """How many tensors the artifact has, and these one by one."""
    names = _matrices(checkpoint)
    return 2 * len(names), _quantized(checkpoint, names)


def _quantized(checkpoint: Checkpoint, names: Iterable[str]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Each matrix's scales, float32, (out,), then its codes, int8, (out, in), under the layer's name."""
    weights = Weights(checkpoint.weights)
    scales = {}
    for name in names:
        scales[name] = row_scales(weights[f"{name}.weight"])
        check_finite(scales[name], f"{name}.weight")
        yield f"{name}.scales", scales[name]
    for name in names:
        yield name, quantize_rows(weights[f"{name}.weight"], scales[name])
        weights.release()


def _matrices(checkpoint: Checkpoint) -> list[str]:
    """The linear layers that become INT8: those that do not narrow."""
    with torch.device("meta"):
        config = AutoConfig.from_pretrained(checkpoint.folder, local_files_only=True, trust_remote_code=False)
        model = AutoModelForSequenceClassification.from_config(config)
    linears = ((name, module) for name, module in model.named_modules() if isinstance(module, torch.nn.Linear))
    return [name for name, module in linears if module.in_features <= module.out_features]


def _dynamic(linear: torch.nn.Linear, codes: NDArray[np.int8], scales: NDArray[np.float32]) -> DynamicLinear:
    """A linear layer over INT8 codes, in the form that PyTorch's dynamic quantisation gives it."""
    made = DynamicLinear(linear.in_features, linear.out_features, dtype=torch.qint8)
    zeros = torch.zeros(len(scales), dtype=torch.int64)
    values = torch._make_per_channel_quantized_tensor(torch.tensor(codes), torch.tensor(scales).double(), zeros, 0)
    made.set_weight_bias(values, linear.bias)
    return made


@contextlib.contextmanager
def _fastest_engine() -> Iterator[None]:
    """Pack weights for oneDNN, the fastest of PyTorch's INT8 kernels where products are exact; no deprecation noise."""
    before = torch.backends.quantized.engine
    if int8_class() == "exact" and "onednn" in torch.backends.quantized.supported_engines:
        torch.backends.quantized.engine = "onednn"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.quantized.engine = before
