"""article-onnx: the article's ONNX Runtime script, with default options."""

from pathlib import Path

import onnxruntime

from contest.batches import scorer
from contest.child import Scorer


def load(name: str, checkpoint: str, threads: int | None, built: str) -> Scorer:
    """Load the exported model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or options.intra_op_num_threads
    session = onnxruntime.InferenceSession(Path(built, "model.onnx"), options)
    names = [node.name for node in session.get_inputs()]
    return scorer(
        checkpoint,
        "np",
        lambda inputs: session.run(None, {name: inputs[name] for name in names})[0].flatten().tolist(),
    )
