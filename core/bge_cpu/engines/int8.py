"""Mode "int8": PyTorch's dynamic quantisation, as in the article, but for the matrices that it would wreck.

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
from torch.ao.quantization import quantize_dynamic
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from bge_cpu.artifacts import TENSORS, Recipe, obtain
from bge_cpu.checkpoint import Checkpoint
from bge_cpu.cpu import int8_class
from bge_cpu.engines.fp32 import TorchEngine, load_model
from bge_cpu.fidelity import gate
from bge_cpu.quantize import quantize_rows, row_scales
from bge_cpu.weights import Weights

VERSION = 1


def load(
    checkpoint: Checkpoint,
    *,
    threads: int,
    cache_dir: Path | None = None,
    min_fidelity: float | None = 0.98,
    every_linear: bool = False,
) -> TorchEngine:
    """Load a checkpoint with transformers, its INT8 matrices from an artifact that is built if it is not in the cache.

    Args:
        checkpoint: What to load.
        threads: How many CPUs PyTorch uses at most.
        cache_dir: Where artifacts are kept; None means the user's cache folder.
        min_fidelity: The least Spearman correlation with float32 scores on the probe; None asks for none.
        every_linear: The article's literal version: every linear layer, one scale per matrix, no artifact, no gate.

    Raises:
        CheckpointError: transformers cannot build the model, or the checkpoint lacks some of its tensors.
        ArtifactError: The artifact cannot be built.
        FidelityError: The artifact's scores stray too far from float32's.
    """
    if every_linear:
        with _fastest_engine():
            model = quantize_dynamic(load_model(checkpoint, torch.float32), {torch.nn.Linear}, dtype=torch.qint8)
        return _engine(model, threads)
    names = _matrices(checkpoint)
    recipe = Recipe(
        mode="int8",
        version=VERSION,
        cpu_class=int8_class(),
        tensors=lambda: tensors(checkpoint, names),
        count=2 * len(names),
    )
    with obtain(checkpoint, recipe, cache_dir=cache_dir) as folder:
        gate(checkpoint, folder, mode=recipe.mode, threads=threads, min_fidelity=min_fidelity)
        return from_file(checkpoint, folder / TENSORS, threads=threads)


def from_file(checkpoint: Checkpoint, file: Path, *, threads: int) -> TorchEngine:
    """The engine whose INT8 matrices are an artifact's."""
    model, weights = load_model(checkpoint, torch.float32), Weights([file])
    with _fastest_engine():
        for name in [name.removesuffix(".scales") for name in weights if name.endswith(".scales")]:
            parent, _, child = name.rpartition(".")
            linear = model.get_submodule(name)
            setattr(model.get_submodule(parent), child, _dynamic(linear, weights[name], weights[f"{name}.scales"]))
    return _engine(model, threads)


def tensors(checkpoint: Checkpoint, names: Iterable[str]) -> Iterator[tuple[str, NDArray[Any]]]:
    """The artifact's tensors: each matrix's scales, then its codes, int8, (out, in), under the layer's name."""
    weights = Weights(checkpoint.weights)
    scales = {}
    for name in names:
        scales[name] = row_scales(weights[f"{name}.weight"])
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


def _engine(model: PreTrainedModel, threads: int) -> TorchEngine:
    return TorchEngine(model, threads=threads, batch_pairs=8, batch_tokens=4096)


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
