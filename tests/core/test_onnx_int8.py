"""Mode "onnx-int8": close to float32, independent of company, gated; bf16 beside it."""

from pathlib import Path

import checkpoints
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from test_onnx import PAIRS, check_equal_in_any_company

from bge_cpu import FidelityError, InputError, Reranker
from bge_cpu.machine.cpu import features
from bge_cpu.quantization.fidelity import spearman
from bge_cpu.quantization.quantize import equalize, quantize_rows, row_scales


def logits(model: Path, mode: str, pairs: list[tuple[str, str]]) -> np.ndarray:
    return np.array(Reranker.load(model, mode=mode, min_fidelity=None).score(pairs), dtype=np.float32)


def test_rows_quantize_within_half_a_step() -> None:
    table = np.random.default_rng(0).standard_normal((50, 64)).astype(np.float32)
    table[7] = 0
    for largest in (127, 63):
        scales = row_scales(table, largest)
        codes = quantize_rows(table, scales)
        assert np.abs(codes.astype(int)).max() == largest
        assert np.all(np.abs(codes * scales[:, None] - table) <= scales[:, None] / 2 * 1.001)
        assert not codes[7].any()


def test_equalizing_changes_nothing_in_float() -> None:
    rng = np.random.default_rng(0)
    value, bias, output = rng.standard_normal((8, 16)), rng.standard_normal(8), rng.standard_normal((16, 8))
    value[3], bias[3], output[:, 3] = value[3] * 50, bias[3] * 50, output[:, 3] / 50
    value[4] = 0
    balanced, balanced_bias, balanced_output = equalize(value, bias, output)
    x = rng.standard_normal((5, 16))
    expected = (x @ value.T + bias) @ output.T
    assert np.allclose((x @ balanced.T + balanced_bias) @ balanced_output.T, expected)
    written, read = np.abs(balanced).max(axis=1), np.abs(balanced_output).max(axis=0)
    used = written > 0
    assert np.allclose(written[used], read[used])


MANY = [("panda", checkpoints.text(seed % 30 + 1, seed=seed)) for seed in range(100)]
"""Enough for a steady correlation: the tiny vocabularies, and with them the tokens, differ from run to run."""


def test_close_to_float32_even_with_random_weights(tiny: Path) -> None:
    assert spearman(logits(tiny, "onnx", MANY), logits(tiny, "onnx-int8", MANY)) > 0.8


def test_bit_equal_in_any_company_order_thread_and_thread_count(tiny: Path) -> None:
    check_equal_in_any_company(tiny, PAIRS, mode="onnx-int8", min_fidelity=None)


@pytest.mark.model
@pytest.mark.filterwarnings("ignore:cut to max_length")
def test_trained_checkpoint_is_close_to_float32(mini: Path, real_pairs: list[tuple[str, str]]) -> None:
    reference = logits(mini, "onnx", real_pairs)
    assert spearman(reference, logits(mini, "onnx-int8", real_pairs)) >= 0.998


@pytest.mark.model
@pytest.mark.filterwarnings("ignore:cut to max_length")
@pytest.mark.skipif(not features() & {"avx512_bf16", "amx_bf16", "bf16"}, reason="needs native bfloat16")
def test_bf16_is_close_to_float32(mini: Path, real_pairs: list[tuple[str, str]]) -> None:
    assert spearman(logits(mini, "onnx", real_pairs), logits(mini, "bf16", real_pairs)) >= 0.998


def test_bf16_is_refused_without_native_support(tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bge_cpu.engines import bf16  # its view of the CPU is replaced, since this machine's is fixed

    monkeypatch.setattr(bf16, "features", lambda: frozenset({"avx2"}))
    with pytest.raises(InputError, match="'bf16' needs a CPU with native bfloat16"):
        Reranker.load(tiny_xlmr, mode="bf16")


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


@pytest.mark.model
@pytest.mark.filterwarnings("ignore:cut to max_length")
def test_dynamic_int8_of_pytorch_is_close_enough(mini: Path, real_pairs: list[tuple[str, str]], tmp_path: Path) -> None:
    reference = logits(mini, "onnx", real_pairs)
    gated = Reranker.load(mini, mode="int8", cache_dir=tmp_path)
    ours = spearman(reference, np.array(gated.score(real_pairs), np.float32))
    tensors = load_file(next(tmp_path.glob("*/model.safetensors")))
    assert {str(tensor.dtype) for tensor in tensors.values()} == {"int8", "float32"}
    assert not any("output.dense" in name and "attention" not in name for name in tensors)

    from bge_cpu.checkpoint import open_checkpoint
    from bge_cpu.engines import int8
    from bge_cpu.tokenizer import PairTokenizer

    engine = int8.load(open_checkpoint(mini), threads=2, every_linear=True)
    articles = Reranker(PairTokenizer.load(mini / "tokenizer.json"), engine).score(real_pairs)
    assert ours >= 0.98
    assert spearman(reference, np.array(articles, np.float32)) < ours


def test_int8_artifact_of_a_tiny_checkpoint(tiny: Path, tmp_path: Path) -> None:
    first = Reranker.load(tiny, mode="int8", cache_dir=tmp_path, min_fidelity=None).score(MANY)
    assert Reranker.load(tiny, mode="int8", cache_dir=tmp_path, min_fidelity=None).score(MANY) == first
    assert spearman(logits(tiny, "fp32", MANY), np.array(first, np.float32)) > 0.5


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


def test_spearman_by_hand() -> None:
    one = np.array([1, 2, 3, 4], np.float32)
    assert spearman(one, one * 7) == pytest.approx(1)
    assert spearman(one, -one) == pytest.approx(-1)
    assert spearman(one, np.array([1, 3, 2, 4], np.float32)) == pytest.approx(0.8)
    assert spearman(np.array([1, 1, 2, 2], np.float32), one) == pytest.approx(0.894427)
    assert np.isnan(spearman(one, np.ones(4, np.float32)))
