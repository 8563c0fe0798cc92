"""fastembed: its TextCrossEncoder with the exported model of a local folder, batches of 64."""

from fastembed.common.model_description import ModelSource
from fastembed.rerank.cross_encoder import TextCrossEncoder

from contest.child import Scorer


def load(name: str, checkpoint: str, threads: int | None, built: str) -> Scorer:
    """Load the exported model as a custom one."""
    files = {"model_file": "model.onnx", "additional_files": ["model.onnx.data"]}
    TextCrossEncoder.add_custom_model("local", sources=ModelSource(url="file:///nowhere"), **files)
    model = TextCrossEncoder("local", specific_model_path=built, threads=threads)
    return lambda pairs: list(model.rerank_pairs(list(pairs)))
