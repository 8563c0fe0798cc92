"""ort-int8: ONNX Runtime's stock dynamic quantisation of the export; it runs as article-onnx does."""

from pathlib import Path

from onnxruntime.quantization import quantize_dynamic


def build(name: str, checkpoint: str, source: str, out: str, texts: None) -> None:
    """Quantise the exported model with default options."""
    quantize_dynamic(Path(source, "model.onnx"), Path(out, "model.onnx"), use_external_data_format=True)
