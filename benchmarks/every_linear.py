"""The article's literal PyTorch INT8, every linear layer of the model: no mode of bge-cpu, for it costs too much."""

import warnings
from pathlib import Path

import torch

from bge_cpu import Reranker
from bge_cpu.checkpoint import open_checkpoint
from bge_cpu.engines.fp32 import TorchEngine, load_model
from bge_cpu.tokenizer import PairTokenizer


def load(folder: Path, *, threads: int) -> Reranker:
    """A checkpoint folder with all its linear layers quantized dynamically, in batches as mode "int8" runs them."""
    checkpoint = open_checkpoint(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its deprecation
        model = torch.ao.quantization.quantize_dynamic(
            load_model(checkpoint, torch.float32), {torch.nn.Linear}, dtype=torch.qint8
        )
    engine = TorchEngine(model, threads=threads, batch_pairs=8, batch_tokens=4096)
    return Reranker(PairTokenizer.load(checkpoint.tokenizer), engine, model=checkpoint.name)
