"""Mode "fp32": what it runs beyond the architectures of the ONNX modes."""

from pathlib import Path

import pytest

from bge_cpu import Reranker
from tests import checkpoints

pytestmark = pytest.mark.slow

TOLERANCE = 1e-4


def test_fp32_runs_other_architectures_of_transformers(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="compares with PyTorch's logits")
    transformers = pytest.importorskip("transformers", reason="compares with transformers")
    torch.manual_seed(0)
    config = transformers.DistilBertConfig(
        vocab_size=checkpoints.VOCABULARY, dim=32, n_layers=2, n_heads=2, hidden_dim=64, num_labels=1
    )
    model = transformers.DistilBertForSequenceClassification(config).eval()
    model.save_pretrained(tmp_path)
    tokenizer = checkpoints.tokenizer("bert")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    ids = tokenizer.encode("panda", "the giant panda").ids
    with torch.inference_mode():
        expected = float(model(input_ids=torch.tensor([ids])).logits[0, 0])
    assert Reranker.load(tmp_path, mode="fp32").score([("panda", "the giant panda")]) == pytest.approx(
        [expected], abs=TOLERANCE
    )
