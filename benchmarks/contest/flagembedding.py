"""flagembedding: FlagEmbedding's FlagReranker, in float32; it computes the first batch of each call twice."""

import torch
from FlagEmbedding import FlagReranker

from contest.child import Scorer


def load(name: str, checkpoint: str, threads: int | None, built: None) -> Scorer:
    """Load the checkpoint."""
    torch.set_num_threads(threads or torch.get_num_threads())
    reranker = FlagReranker(checkpoint, use_fp16=False, devices="cpu", trust_remote_code=False)
    reranker.model.float()  # transformers keeps a float16 checkpoint as it is
    return lambda pairs: reranker.compute_score(list(pairs))
