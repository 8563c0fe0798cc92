"""The ONNX export that article-onnx, ort-int8 and fastembed begin with."""

import shutil
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification


def build(name: str, checkpoint: str, source: None, out: str, texts: None) -> None:
    """Export a checkpoint as PyTorch does by default, with its tokenizer and configuration beside it."""
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype=torch.float32).eval()
    inputs = {"input_ids": torch.full((2, 16), 5), "attention_mask": torch.ones(2, 16, dtype=torch.int64)}
    axes = {name: {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")} for name in inputs}
    names = {"input_names": list(inputs), "output_names": ["logits"]}
    torch.onnx.export(model, f=Path(out, "model.onnx"), kwargs=inputs, dynamic_shapes=axes, dynamo=True, **names)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(Path(checkpoint, name), Path(out, name))
