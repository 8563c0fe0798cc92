"""Mode "onnx-int8": close to float32, independent of company."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bge_cpu.quantization.fidelity import spearman
from tests.pairs import MANY, PAIRS, check_equal_in_any_company, logits


def test_close_to_float32_even_with_random_weights(tiny: Path) -> None:
    assert spearman(logits(tiny, "onnx", MANY), logits(tiny, "onnx-int8", MANY)) > 0.8


def test_bit_equal_in_any_company_order_thread_and_thread_count(tiny: Path) -> None:
    check_equal_in_any_company(tiny, PAIRS, mode="onnx-int8", min_fidelity=None)


@pytest.mark.model
@pytest.mark.filterwarnings("ignore:cut to max_length")
def test_trained_checkpoint_is_close_to_float32(mini: Path, real_pairs: list[tuple[str, str]]) -> None:
    reference = logits(mini, "onnx", real_pairs)
    assert spearman(reference, logits(mini, "onnx-int8", real_pairs)) >= 0.998


def adversarial(source: Path, folder: Path) -> Path:
    """The same float32 function, with some value channels 20-50 times up and the output projection as much down."""
    folder.mkdir()
    tensors = {name: tensor.astype(np.float32) for name, tensor in load_file(source / "model.safetensors").items()}
    rng = np.random.default_rng(0)
    for name in [name for name in tensors if name.endswith("attention.self.value.weight")]:
        bias, output = name.replace("weight", "bias"), name.replace("self.value", "output.dense")
        channels = rng.choice(len(tensors[name]), len(tensors[name]) // 16, replace=False)
        factor = rng.uniform(20, 50, len(channels)).astype(np.float32)
        tensors[name][channels] *= factor[:, None]
        tensors[bias][channels] *= factor
        tensors[output][:, channels] /= factor
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    return folder


@pytest.mark.model
@pytest.mark.filterwarnings("ignore:cut to max_length")
def test_scaled_value_channels_are_balanced_away(mini: Path, real_pairs: list[tuple[str, str]], tmp_path: Path) -> None:
    hard = adversarial(mini, tmp_path / "hard")
    reference = logits(mini, "onnx", real_pairs)
    assert np.allclose(logits(hard, "onnx", real_pairs), reference, atol=1e-3), "the same function in float32"
    assert spearman(reference, logits(hard, "onnx-int8", real_pairs)) >= 0.995
