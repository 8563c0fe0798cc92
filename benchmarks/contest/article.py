"""article-fp32 and article-int8: the article's PyTorch scripts."""

import torch
from transformers import AutoModelForSequenceClassification

from contest.batches import scorer
from contest.child import Scorer


def load(name: str, checkpoint: str, threads: int | None, built: None) -> Scorer:
    """Load the model in float32, or with every linear layer quantised dynamically."""
    torch.set_num_threads(threads or torch.get_num_threads())
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype=torch.float32).eval()
    if name == "article-int8":
        model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    return scorer(checkpoint, "pt", torch.no_grad()(lambda inputs: model(**inputs).logits.flatten().tolist()))
