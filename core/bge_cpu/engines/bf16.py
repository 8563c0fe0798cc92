"""Mode "bf16": bfloat16 on PyTorch through transformers, for CPUs that multiply it natively."""

import torch

from bge_cpu.checkpoint import Checkpoint
from bge_cpu.engines.fp32 import TorchEngine, load_model
from bge_cpu.errors import InputError
from bge_cpu.machine.cpu import NATIVE_BF16, features


def load(checkpoint: Checkpoint, *, threads: int, batch_pairs: int = 8, batch_tokens: int = 4096) -> TorchEngine:
    """Load a checkpoint with transformers in bfloat16; the arguments are those of mode "fp32".

    Raises:
        InputError: This CPU has no native bfloat16.
        CheckpointError: transformers cannot build the model, or the checkpoint lacks some of its tensors.
    """
    if not features() & NATIVE_BF16:
        raise InputError(
            f"mode 'bf16' needs a CPU with native bfloat16 ({', '.join(sorted(NATIVE_BF16))}); on this one every value "
            "would be converted, slower than float32",
            hint='use mode="onnx"',
        )
    model = load_model(checkpoint, torch.bfloat16)
    return TorchEngine(model, threads=threads, batch_pairs=batch_pairs, batch_tokens=batch_tokens)
