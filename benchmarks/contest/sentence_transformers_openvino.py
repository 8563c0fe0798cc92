"""sentence-transformers-openvino: CrossEncoder on OpenVINO, static INT8 as its documentation builds it."""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from optimum.intel import OVQuantizationConfig
from sentence_transformers import CrossEncoder, export_static_quantized_openvino_model

from contest.child import Pair, Scorer

FILE = "openvino/openvino_model_qint8_quantized.xml"


def build(name: str, checkpoint: str, source: None, out: str, texts: list[Pair]) -> None:
    """Quantise with default options; the calibration texts, which are GLUE's SST-2 by default, are local ones."""
    model = CrossEncoder(checkpoint, backend="openvino", max_length=512)
    # A BERT model wants token types at calibration, too, even if its tokenizer gives none by itself.
    model.tokenizer.model_input_names = [port.any_name for port in model.transformers_model.model.inputs]
    model.save_pretrained(out)
    with tempfile.TemporaryDirectory() as folder:
        rows = [json.dumps({"text": f"{query} {document}"}) for query, document in texts]
        Path(folder, "train.jsonl").write_text("\n".join(rows))
        columns = {"dataset_name": folder, "dataset_config_name": "default", "dataset_split": "train"}
        export_static_quantized_openvino_model(model, OVQuantizationConfig(), out, column_name="text", **columns)


def load(name: str, checkpoint: str, threads: int | None, built: str) -> Scorer:
    """Load the quantised model."""
    options: dict[str, Any] = {"file_name": FILE}
    if threads:
        options["ov_config"] = {"INFERENCE_NUM_THREADS": threads}
    model = CrossEncoder(built, backend="openvino", max_length=512, model_kwargs=options)
    return lambda pairs: model.predict(list(pairs), activation_fn=torch.nn.Identity()).tolist()
