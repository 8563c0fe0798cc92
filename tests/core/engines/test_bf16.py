"""Mode "bf16": close to float32, and only where the CPU multiplies bfloat16."""

from pathlib import Path

import pytest

from bge_cpu import InputError, Reranker
from bge_cpu.quantization.fidelity import spearman
from tests.modes import needs_bf16, needs_torch
from tests.pairs import LogitsOf

pytestmark = [needs_torch, pytest.mark.slow]


@pytest.mark.model
@needs_bf16
def test_bf16_is_close_to_float32(mini_logits: LogitsOf) -> None:
    assert spearman(mini_logits("onnx"), mini_logits("bf16")) >= 0.998


def test_bf16_is_refused_without_native_support(tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its view of the CPU is replaced, since this machine's is fixed.
    monkeypatch.setattr("bge_cpu.engines.bf16.features", lambda: frozenset({"avx2"}))
    with pytest.raises(InputError, match="'bf16' needs a CPU with native bfloat16"):
        Reranker.load(tiny_xlmr, mode="bf16")
