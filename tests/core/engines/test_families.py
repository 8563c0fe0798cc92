"""Mode "fp32" against transformers itself, over the encoder families that it ships with a classification head."""

import inspect
import json
from pathlib import Path

import pytest

from bge_cpu import Reranker
from tests import checkpoints

torch = pytest.importorskip("torch", reason="the reference is transformers on PyTorch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.slow

SIZES: dict[str, object] = {
    "vocab_size": 400,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 130,
}
OTHERWISE: dict[str, object] = {"n_layers": 2, "n_heads": 2}
FAMILIES: dict[str, dict[str, object]] = {
    "albert": {"embedding_size": 16},
    "big_bird": {},
    "camembert": {},
    "convbert": {},
    "data2vec-text": {},
    "deberta": {},
    "deberta-v2": {},
    "distilbert": {"hidden_dim": 64},
    "electra": {"embedding_size": 16},
    "ernie": {},
    "eurobert": {"pad_token_id": 0, "num_key_value_heads": 2},
    "flaubert": OTHERWISE,
    "fnet": {},
    "funnel": {"block_sizes": [1, 1], "d_head": 16, "d_inner": 64, "num_hidden_layers": None},
    "gte": {},
    "longformer": {"attention_window": 8},
    "megatron-bert": {},
    "modernbert": {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3},
    "mpnet": {},
    "nomic_bert": {},
    "nystromformer": {},
    "rembert": {"input_embedding_size": 16, "output_embedding_size": 16},
    "roberta-prelayernorm": {},
    "roformer": {},
    "squeezebert": {"embedding_size": 32, "q_groups": 1, "k_groups": 1, "v_groups": 1},
    "xlm": OTHERWISE,
    "xlm-roberta-xl": {},
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64, "max_position_embeddings": None},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
}
ON_ONNX = {"camembert", "data2vec-text", "ernie"}
LONG = "it rains or shines, the quick brown fox jumps over the lazy dog twice"
PAIRS = [("panda", LONG), ("panda", "bear"), ("giant bear", f"{LONG}, {LONG}"), ("panda", "lazy dog"), ("a", "b")]


def make(folder: Path, family: str, **sizes: object) -> tuple[Path, list[float]]:
    """A tiny random checkpoint, and what transformers says of the pairs, one by one."""
    if family not in transformers.CONFIG_MAPPING:
        pytest.skip(f"transformers {transformers.__version__} has no {family}")
    torch.manual_seed(0)
    sizes = {key: value for key, value in (SIZES | sizes).items() if value is not None}
    config = transformers.CONFIG_MAPPING[family](num_labels=1, **sizes)
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(folder)
    typeless = json.loads((folder / "config.json").read_text()).get("type_vocab_size") == 1
    tokenizer = checkpoints.tokenizer("roberta" if typeless else "bert")
    tokenizer.save(str(folder / "tokenizer.json"))
    typed = "token_type_ids" in inspect.signature(model.forward).parameters
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    logits = []
    for pair in PAIRS:
        encoded = tokenizer.encode(*pair)
        inputs = {"input_ids": encoded.ids, "attention_mask": encoded.attention_mask}
        inputs |= {"token_type_ids": encoded.type_ids} if typed else {}
        with torch.inference_mode():
            output = model(**{name: torch.tensor([values]) for name, values in inputs.items()})
        logits.append(float(output.logits[0, 0]))
    return folder, logits


@pytest.mark.parametrize("family", FAMILIES)
def test_as_transformers(tmp_path: Path, family: str) -> None:
    folder, expected = make(tmp_path, family, **FAMILIES[family])
    assert max(expected) - min(expected) > 0.1, "the logits must differ for the comparison to mean something"
    for mode in ("fp32", "onnx") if family in ON_ONNX else ("fp32",):
        assert Reranker.load(folder, mode=mode, max_length=100).score(PAIRS) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("mode", ["fp32", "onnx"])
def test_norms_named_as_in_berts_first_checkpoints(tmp_path: Path, mode: str) -> None:
    from safetensors.numpy import load_file, save_file

    folder, expected = make(tmp_path, "bert")
    file = folder / "model.safetensors"
    tensors = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in load_file(file).items()
    }
    assert any(name.endswith("gamma") for name in tensors)
    save_file(tensors, file, metadata={"format": "pt"})
    assert Reranker.load(folder, mode=mode).score(PAIRS) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("pad", [None, 0])
def test_a_decoder_runs_whatever_its_padding(tmp_path: Path, pad: int | None) -> None:
    """Without a padding token transformers refuses batches: pairs of one length run one by one, too."""
    folder, expected = make(tmp_path, "qwen2", pad_token_id=pad, num_key_value_heads=2)
    reranker = Reranker.load(folder, mode="fp32", max_length=100)
    assert reranker.score(PAIRS) == pytest.approx(expected, abs=1e-4)
    assert reranker.score([PAIRS[1]] * 3) == pytest.approx([expected[1]] * 3, abs=1e-4)


def test_a_decoders_tokenizer_glues_texts_together_and_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, processors

    from bge_cpu import CheckpointError

    folder, _ = make(tmp_path, "qwen2", pad_token_id=None, num_key_value_heads=2)
    file = str(folder / "tokenizer.json")
    tokenizer = Tokenizer.from_file(file)
    formats = [
        processors.ByteLevel(trim_offsets=False),  # Qwen's: nothing is added
        processors.TemplateProcessing(
            single="[CLS] $A", pair="[CLS] $A $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        ),
    ]
    for pair_format in formats:
        tokenizer.post_processor = pair_format
        tokenizer.save(file)
        with pytest.raises(CheckpointError, match="no pair format: query and document would be read as one text"):
            Reranker.load(folder, mode="fp32", max_length=100)
