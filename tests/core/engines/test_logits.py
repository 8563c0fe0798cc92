"""Every mode against transformers' own float32 logits, computed one pair at a time."""

from pathlib import Path

import numpy as np
import pytest
import tokenizers
from huggingface_hub import try_to_load_from_cache

from bge_cpu import Reranker
from tests import checkpoints, modes
from tests.pairs import LogitsOf

pytestmark = pytest.mark.slow

MODES = modes.params("fp32", "onnx")
TOLERANCE = 1e-4


def reference(folder: Path, pairs: list[tuple[str, str]]) -> list[float]:
    """What transformers says, from the pair encoding of the tokenizers library itself."""
    torch = pytest.importorskip("torch", reason="compares with PyTorch's logits")
    transformers = pytest.importorskip("transformers", reason="compares with transformers")
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    logits = []
    for query, document in pairs:
        encoded = tokenizer.encode(query, document)
        with torch.inference_mode():
            output = model(
                input_ids=torch.tensor([encoded.ids]),
                token_type_ids=torch.tensor([encoded.type_ids]),
                attention_mask=torch.ones(1, len(encoded.ids), dtype=torch.long),
            )
        logits.append(float(output.logits[0, 0]))
    return logits


def pairs_of_lengths(folder: Path, lengths: list[int]) -> list[tuple[str, str]]:
    """Pairs that take exactly these numbers of tokens."""
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    pairs = []
    for length in lengths:
        query = "a"
        words = checkpoints.text(length, seed=length).split()
        document = ""
        while words and len(tokenizer.encode(query, document).ids) < length:
            trial = f"{document} {words.pop()}".strip()
            document = trial if len(tokenizer.encode(query, trial).ids) <= length else f"{document} a".strip()
        pairs.append((query, document))
    return pairs


@pytest.mark.parametrize("mode", MODES)
def test_as_transformers_at_lengths_5_to_512(tiny: Path, mode: str) -> None:
    pairs = pairs_of_lengths(tiny, [5, 6, 9, 17, 33, 64, 128, 200, 333, 511, 512])
    expected = reference(tiny, pairs)
    assert np.ptp(expected) > 0.5, "the logits must differ for the comparison to mean something"
    assert Reranker.load(tiny, mode=mode).score(pairs) == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("mode", MODES)
def test_special_tokens_spelled_out_in_a_text_count_as_in_transformers(tiny: Path, mode: str) -> None:
    specials = ["<pad>", "<s>", "</s>", "<mask>", "[PAD]", "[SEP]"]
    pairs = [("panda", f"the giant {special} panda {special}{special} is a bear") for special in specials]
    assert Reranker.load(tiny, mode=mode).score(pairs) == pytest.approx(reference(tiny, pairs), abs=TOLERANCE)


@pytest.mark.parametrize("mode", MODES)
def test_as_transformers_at_2000_tokens(tmp_path: Path, mode: str) -> None:
    folder = checkpoints.make(tmp_path, "xlm-roberta", positions=2_048)
    pairs = pairs_of_lengths(folder, [1_500, 2_000])
    assert Reranker.load(folder, mode=mode, max_length=2_048).score(pairs) == pytest.approx(
        reference(folder, pairs), abs=TOLERANCE
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_checkpoints_are_upcast(tmp_path: Path, mode: str, dtype: str) -> None:
    folder = checkpoints.make(tmp_path, "xlm-roberta", dtype=dtype)
    pairs = pairs_of_lengths(folder, [10, 100])
    assert Reranker.load(folder, mode=mode).score(pairs) == pytest.approx(reference(folder, pairs), abs=TOLERANCE)


@pytest.mark.model
def test_trained_checkpoint_on_real_pairs(mini: Path, mini_logits: LogitsOf, real_pairs: list[tuple[str, str]]) -> None:
    tokenizer = tokenizers.Tokenizer.from_file(str(mini / "tokenizer.json"))
    whole = [place for place, pair in enumerate(real_pairs) if len(tokenizer.encode(*pair).ids) <= 512]
    assert len(whole) >= 190
    expected = pytest.approx(reference(mini, [real_pairs[place] for place in whole]), abs=TOLERANCE)
    for mode in ("fp32", "onnx"):
        assert mini_logits(mode)[whole].tolist() == expected, mode


@pytest.mark.hub
@pytest.mark.parametrize("mode", MODES)
def test_reference_values_of_the_model_card(mode: str) -> None:
    name = "BAAI/bge-reranker-v2-m3"
    if not isinstance(try_to_load_from_cache(name, "model.safetensors"), str):
        pytest.skip(f"needs {name} in the Hub's cache")
    panda = (
        "The giant panda (Ailuropoda melanoleuca), sometimes called a panda bear or simply panda, is a bear species "
        "endemic to China."
    )
    reranker = Reranker.load(name, mode=mode, local_files_only=True)
    scores = reranker.score([("what is panda?", "hi"), ("what is panda?", panda)])
    assert scores == pytest.approx([-8.19, 5.26], abs=0.05)
