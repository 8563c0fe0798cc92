"""sentence-transformers: its CrossEncoder on PyTorch, in float32, batches of 32."""

import torch
from sentence_transformers import CrossEncoder

from contest.child import Scorer


def load(name: str, checkpoint: str, threads: int | None, built: None) -> Scorer:
    """Load the checkpoint."""
    torch.set_num_threads(threads or torch.get_num_threads())
    model = CrossEncoder(checkpoint, device="cpu", max_length=512, model_kwargs={"dtype": torch.float32})
    return lambda pairs: model.predict(list(pairs), activation_fn=torch.nn.Identity()).tolist()
