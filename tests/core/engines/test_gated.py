"""What lies between an INT8 mode's recipe and its engine: the gate."""

from pathlib import Path

import pytest

from bge_cpu import FidelityError, Reranker


def test_the_gate_refuses_with_figures_and_remedies(tiny_xlmr: Path, tmp_path: Path) -> None:
    with pytest.raises(FidelityError) as caught:
        Reranker.load(tiny_xlmr, mode="onnx-int8", cache_dir=tmp_path, min_fidelity=1.0)
    for part in ("Spearman 0.", "64 probe pairs", "min_fidelity is 1.0", "RMSE", "largest shift", 'mode="onnx"'):
        assert part in str(caught.value)
    (figures,) = tmp_path.glob("*/fidelity.json")
    measured = figures.stat().st_mtime_ns
    with pytest.raises(FidelityError):
        Reranker.load(tiny_xlmr, mode="onnx-int8", cache_dir=tmp_path, min_fidelity=1.0)
    assert figures.stat().st_mtime_ns == measured, "measured once"
    assert Reranker.load(tiny_xlmr, mode="onnx-int8", cache_dir=tmp_path, min_fidelity=None).score([("a", "b")])
    assert Reranker.load(tiny_xlmr, mode="onnx-int8", cache_dir=tmp_path, min_fidelity=0.5).score([("a", "b")])


@pytest.mark.model
def test_the_trained_checkpoint_passes_the_gate(mini: Path, tmp_path: Path) -> None:
    assert Reranker.load(mini, cache_dir=tmp_path).score([("panda", "a bear")])
    assert list(tmp_path.glob("*/fidelity.json"))
