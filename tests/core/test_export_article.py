"""Exported folders in the hands of others: the article's ONNX Runtime snippet, and transformers."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from bge_cpu import Reranker
from bge_cpu.checkpoint import open_checkpoint
from bge_cpu.checkpoint.record import TENSORS, recorded_mode
from bge_cpu.engines import onnx_int8
from bge_cpu.export import export
from bge_cpu.quantization.artifacts import damage
from bge_cpu.tokenizer import PairTokenizer
from tests import checkpoints
from tests.modes import needs_torch

pytestmark = pytest.mark.slow

PAIRS = [("what is 熊猫?", checkpoints.text(length, seed=length)) for length in (40, 1, 3, 60, 9, 20)]


def snippet(out: Path, pairs: list[tuple[str, str]], *, side: str = "right") -> list[float]:
    """The article's ONNX inference, unchanged but for the padding side and token types where the graph takes them."""
    transformers = pytest.importorskip("transformers", reason="runs exported folders with transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(out, padding_side=side)
    session = onnxruntime.InferenceSession(f"{out}/model.onnx", providers=["CPUExecutionProvider"])
    inputs = tokenizer(pairs, return_tensors="np", padding=True, truncation=True, max_length=512)
    feed = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}
    if "token_type_ids" in [value.name for value in session.get_inputs()]:
        feed["token_type_ids"] = inputs["token_type_ids"]
    assert len(set(inputs["attention_mask"].sum(axis=1))) > 1, "without padding there is nothing to mask"
    scores: list[float] = session.run(None, feed)[0].flatten().tolist()
    return scores


@pytest.fixture(scope="module")
def exported(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tiny, tmp_path_factory.mktemp("exported") / "out", mode="onnx")


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_articles_snippet_agrees_with_onnx(tiny: Path, exported: Path, side: str) -> None:
    expected = Reranker.load(tiny, mode="onnx").score(PAIRS)
    assert np.ptp(expected) > 0.5
    assert snippet(exported, PAIRS, side=side) == pytest.approx(expected, abs=1e-4)


def test_it_loads_with_the_sources_scores_to_the_bit_wherever_it_is(tiny: Path, exported: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(exported, tmp_path / "moved 到")
    scores = Reranker.load(tiny, mode="onnx").score(PAIRS)
    assert Reranker.load(exported, mode="onnx").score(PAIRS) == scores
    assert Reranker.load(moved, mode="onnx").score(PAIRS) == scores
    assert snippet(moved, PAIRS) == pytest.approx(scores, abs=1e-4)


@needs_torch
def test_it_is_a_checkpoint_for_transformers_too(tiny: Path, exported: Path) -> None:
    assert Reranker.load(tiny, mode="fp32").score(PAIRS) == pytest.approx(torch_scores(exported, PAIRS), abs=1e-4)


def torch_scores(folder: Path, pairs: list[tuple[str, str]]) -> list[float]:
    torch = pytest.importorskip("torch", reason="runs exported folders with PyTorch")
    transformers = pytest.importorskip("transformers", reason="runs exported folders with transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if model.config.type_vocab_size > 1 else [])]
    inputs = tokenizer(pairs, return_tensors="pt", padding=True)
    with torch.inference_mode():
        logits: list[float] = model(**{name: inputs[name] for name in names}).logits[:, 0].tolist()
    return logits


def test_types_follow_the_tokenizer_not_the_architecture(tmp_path: Path) -> None:
    source = checkpoints.make(tmp_path / "source", "bert")
    tokenizer = json.loads((source / "tokenizer.json").read_text())
    for part in tokenizer["post_processor"]["pair"]:
        next(iter(part.values()))["type_id"] = 0
    (source / "tokenizer.json").write_text(json.dumps(tokenizer))
    out = export(source, tmp_path / "out", mode="onnx")
    assert json.loads((out / "bge_cpu.json").read_text())["inputs"] == ["input_ids", "attention_mask"]
    assert snippet(out, PAIRS) == pytest.approx(Reranker.load(source, mode="onnx").score(PAIRS), abs=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_written_as_float32(tmp_path: Path, dtype: str) -> None:
    source = checkpoints.make(tmp_path / "source", "xlm-roberta", dtype=dtype)
    out = export(source, tmp_path / "out", mode="onnx")
    expected = Reranker.load(source, mode="onnx").score(PAIRS)
    assert Reranker.load(out, mode="onnx").score(PAIRS) == expected
    assert snippet(out, PAIRS) == pytest.approx(expected, abs=1e-4)


def test_the_checkpoints_own_tokenizer_config_is_kept(tiny_xlmr: Path, tmp_path: Path) -> None:
    source = shutil.copytree(tiny_xlmr, tmp_path / "source")
    content = '{"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "</s>"}'
    (source / "tokenizer_config.json").write_text(content)
    out = export(source, tmp_path / "out", mode="onnx")
    assert (out / "tokenizer_config.json").read_text() == content
    assert snippet(out, PAIRS) == pytest.approx(Reranker.load(source, mode="onnx").score(PAIRS), abs=1e-4)


def test_links_are_followed(tiny_xlmr: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for file in tiny_xlmr.iterdir():  # as the Hub's cache does it
        (source / file.name).symlink_to(file)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    out = export(source, tmp_path / "link", mode="onnx")
    assert out == tmp_path / "real"
    assert not any(file.is_symlink() for file in out.iterdir())
    assert len(snippet(tmp_path / "link", PAIRS)) == len(PAIRS)


def test_a_killed_export_leaves_no_folder_and_the_next_one_works(tiny_xlmr: Path, tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\nfrom bge_cpu.export import export\n"
        "def kill(done, total):\n    if 2 * done > total: os.kill(os.getpid(), signal.SIGKILL)\n"
        "export(sys.argv[1], sys.argv[2], mode='onnx', progress=kill)"
    )
    done = subprocess.run([sys.executable, "-c", script, tiny_xlmr, tmp_path / "out"], timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    assert len(snippet(export(tiny_xlmr, tmp_path / "out", mode="onnx"), PAIRS)) == len(PAIRS)


def own_graph(out: Path) -> Reranker:
    """Our own graph over an exported folder's INT8 tensors."""
    engine = onnx_int8.from_file(open_checkpoint(out), out / TENSORS, threads=1)
    return Reranker(PairTokenizer.load(out / "tokenizer.json"), engine)


def test_int8_tensors_serve_both_graphs(tiny: Path, tmp_path: Path) -> None:
    out = export(tiny, tmp_path / "out", mode="onnx-int8", cache_dir=tmp_path / "cache", min_fidelity=None)
    shutil.rmtree(tmp_path / "cache")
    assert recorded_mode(out) == "onnx-int8"
    assert damage(out) is None
    source = Reranker.load(tiny, mode="onnx-int8", cache_dir=tmp_path / "cache", min_fidelity=None)
    expected = source.score(PAIRS)
    assert own_graph(out).score(PAIRS) == expected
    # The two graphs add up in another order, and a last bit can be another INT8 code.
    tolerance = 0.03 * np.ptp(expected)
    for side in ("right", "left"):
        assert snippet(out, PAIRS, side=side) == pytest.approx(expected, abs=tolerance)


@pytest.mark.model
def test_trained_checkpoint_in_int8(mini: Path, real_pairs: list[tuple[str, str]], tmp_path: Path) -> None:
    pairs = [(query, document[:300]) for query, document in real_pairs[::6]]
    out = export(mini, tmp_path / "out", mode="onnx-int8", cache_dir=tmp_path / "cache")
    assert (out / "fidelity.json").is_file()
    expected = Reranker.load(mini, mode="onnx-int8", cache_dir=tmp_path / "cache").score(pairs)
    assert own_graph(out).score(pairs) == expected
    assert snippet(out, pairs) == pytest.approx(expected, abs=0.03 * np.ptp(expected))


@pytest.mark.model
def test_trained_checkpoint(mini: Path, real_pairs: list[tuple[str, str]], tmp_path: Path) -> None:
    pairs = [(query, document[:300]) for query, document in real_pairs[::6]]
    out = export(mini, tmp_path / "out", mode="onnx")
    expected = Reranker.load(mini, mode="onnx").score(pairs)
    assert Reranker.load(out, mode="onnx").score(pairs) == expected
    for side in ("right", "left"):
        assert snippet(out, pairs, side=side) == pytest.approx(expected, abs=1e-4)
