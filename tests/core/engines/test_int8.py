"""Mode "int8": PyTorch's dynamic quantisation, closer to float32 than that of every matrix."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from bge_cpu import Reranker
from bge_cpu.quantization.fidelity import spearman
from tests.modes import needs_torch
from tests.pairs import MANY, LogitsOf, logits

pytestmark = [needs_torch, pytest.mark.slow]


@pytest.mark.model
@pytest.mark.filterwarnings("ignore:cut to max_length")
def test_dynamic_int8_of_pytorch_is_close_enough(
    mini: Path, mini_logits: LogitsOf, real_pairs: list[tuple[str, str]], tmp_path: Path
) -> None:
    reference = mini_logits("onnx")
    gated = Reranker.load(mini, mode="int8", cache_dir=tmp_path)
    ours = spearman(reference, np.array(gated.score(real_pairs), np.float32))
    tensors = load_file(next(tmp_path.glob("*/model.safetensors")))
    assert {str(tensor.dtype) for tensor in tensors.values()} == {"int8", "float32"}
    assert not any("output.dense" in name and "attention" not in name for name in tensors)

    import every_linear  # of benchmarks/

    articles = every_linear.load(mini, threads=2).score(real_pairs)
    assert ours >= 0.98
    assert spearman(reference, np.array(articles, np.float32)) < ours


def test_int8_artifact_of_a_tiny_checkpoint(tiny: Path, tmp_path: Path) -> None:
    first = Reranker.load(tiny, mode="int8", cache_dir=tmp_path, min_fidelity=None).score(MANY)
    assert Reranker.load(tiny, mode="int8", cache_dir=tmp_path, min_fidelity=None).score(MANY) == first
    assert spearman(logits(tiny, "fp32", MANY), np.array(first, np.float32)) > 0.5
