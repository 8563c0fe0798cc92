"""Mode "fp32": what it runs beyond the architectures of the ONNX modes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bge_cpu import CheckpointError, Reranker
from tests import checkpoints
from tests.modes import needs_torch

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


@needs_torch
@pytest.mark.parametrize("mode", ["fp32", "int8"])
def test_what_a_model_raises_at_a_pair_is_our_error(tiny_xlmr: Path, tmp_path: Path, mode: str) -> None:
    folder = Path(shutil.copytree(tiny_xlmr, tmp_path / "copy"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"chunk_size_feed_forward": 1_000}))
    reranker = Reranker.load(folder, mode=mode, min_fidelity=None, cache_dir=tmp_path / "cache")
    with pytest.raises(CheckpointError, match=r"the model cannot run pairs of \d+ tokens: The dimension .* 1000"):
        reranker.score([("panda", "a bear")])


LOAD = """
import sys
from bge_cpu import Reranker
Reranker.load(sys.argv[1], mode="fp32")
from transformers.utils.logging import is_progress_bar_enabled
print(is_progress_bar_enabled())
"""


@needs_torch
@pytest.mark.parametrize(("asked", "bars"), [(None, False), ("0", True)])
def test_loading_shows_a_bar_on_terminals_only(tiny_xlmr: Path, asked: str | None, bars: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_DISABLE_PROGRESS_BARS"}
    environment |= {} if asked is None else {"HF_HUB_DISABLE_PROGRESS_BARS": asked}
    command = [sys.executable, "-c", LOAD, str(tiny_xlmr)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.stdout == "True\n", "the program's own bars are as they were"
    assert ("Loading weights" in done.stderr) == bars
