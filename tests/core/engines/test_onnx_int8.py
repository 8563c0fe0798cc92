"""Mode "onnx-int8": close to float32, independent of company."""

from pathlib import Path

import numpy as np
import pytest

from bge_cpu.quantization.fidelity import spearman
from tests.checkpoints import adversarial
from tests.pairs import MANY, PAIRS, LogitsOf, check_equal_in_any_company, logits


def test_close_to_float32_even_with_random_weights(tiny: Path) -> None:
    assert spearman(logits(tiny, "onnx", MANY), logits(tiny, "onnx-int8", MANY)) > 0.8


def test_bit_equal_in_any_company_order_thread_and_thread_count(tiny: Path) -> None:
    check_equal_in_any_company(tiny, PAIRS, mode="onnx-int8", min_fidelity=None)


@pytest.mark.model
def test_trained_checkpoint_is_close_to_float32(mini_logits: LogitsOf) -> None:
    assert spearman(mini_logits("onnx"), mini_logits("onnx-int8")) >= 0.998


@pytest.mark.model
@pytest.mark.filterwarnings("ignore:cut to max_length")
def test_scaled_value_channels_are_balanced_away(
    mini: Path, mini_logits: LogitsOf, real_pairs: list[tuple[str, str]], tmp_path: Path
) -> None:
    hard = adversarial(mini, tmp_path / "hard")
    reference = mini_logits("onnx")
    assert np.allclose(logits(hard, "onnx", real_pairs), reference, atol=1e-3), "the same function in float32"
    assert spearman(reference, logits(hard, "onnx-int8", real_pairs)) >= 0.995
