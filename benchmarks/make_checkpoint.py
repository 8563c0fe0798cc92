"""Write a random-weight checkpoint of bge-reranker-v2-m3's exact shape, for measuring speed and memory.

    python benchmarks/make_checkpoint.py OUT [--tokenizer tokenizer.json]

The scores mean nothing; the shapes and the file size (2.27 GB) are the real model's, and so is the tokenizer where the
folder `shared` lies beside the repository; else it is that of `mini`, which gives the same texts about as many tokens,
with pieces that no text has up to the real one's size.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

VOCABULARY, HIDDEN, LAYERS, HEADS, INTERMEDIATE, POSITIONS = 250_002, 1_024, 24, 16, 4_096, 8_194
_ROOT = Path(__file__).resolve().parents[1]
TOKENIZERS = _ROOT.parent / "shared/tokenizers/xlm-roberta/tokenizer.json", _ROOT / "core/bge_cpu/mini/tokenizer.json"

CONFIG = {
    "architectures": ["XLMRobertaForSequenceClassification"],
    "model_type": "xlm-roberta",
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": INTERMEDIATE,
    "max_position_embeddings": POSITIONS,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,
    "id2label": {"0": "LABEL_0"},
    "label2id": {"LABEL_0": 0},
    "torch_dtype": "float32",
}
TOKENIZER_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
    "model_max_length": POSITIONS - 2,
}


def shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every tensor's name and shape, as in the published checkpoint."""
    embeddings = "roberta.embeddings"
    yield f"{embeddings}.word_embeddings.weight", (VOCABULARY, HIDDEN)
    yield f"{embeddings}.position_embeddings.weight", (POSITIONS, HIDDEN)
    yield f"{embeddings}.token_type_embeddings.weight", (1, HIDDEN)
    yield from norm(f"{embeddings}.LayerNorm")
    for number in range(LAYERS):
        layer = f"roberta.encoder.layer.{number}"
        for name in ("query", "key", "value"):
            yield from dense(f"{layer}.attention.self.{name}", HIDDEN, HIDDEN)
        yield from dense(f"{layer}.attention.output.dense", HIDDEN, HIDDEN)
        yield from norm(f"{layer}.attention.output.LayerNorm")
        yield from dense(f"{layer}.intermediate.dense", INTERMEDIATE, HIDDEN)
        yield from dense(f"{layer}.output.dense", HIDDEN, INTERMEDIATE)
        yield from norm(f"{layer}.output.LayerNorm")
    yield from dense("classifier.dense", HIDDEN, HIDDEN)
    yield from dense("classifier.out_proj", 1, HIDDEN)


def dense(name: str, rows: int, columns: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """A linear layer's weight and bias."""
    yield f"{name}.weight", (rows, columns)
    yield f"{name}.bias", (rows,)


def norm(name: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """A layer normalisation's weight and bias."""
    yield f"{name}.weight", (HIDDEN,)
    yield f"{name}.bias", (HIDDEN,)


def random_tensor(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Initial values as BERT draws them: normal matrices (0.02), norms 1 and biases 0."""
    if len(shape) == 2:
        drawn: NDArray[np.float32] = rng.standard_normal(shape, dtype=np.float32) * np.float32(0.02)
        return drawn
    return np.full(shape, 1.0 if name.endswith("LayerNorm.weight") else 0.0, dtype=np.float32)


def padded(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer.json whose pieces are as many as the checkpoint's rows: a much smaller one is another model's."""
    pieces = tokenizer["model"]["vocab"]
    more = [[f"\uf8ff{number}", -100.0] for number in range(len(pieces), VOCABULARY)]
    return tokenizer | {"model": tokenizer["model"] | {"vocab": pieces + more}}


def main() -> None:
    """Write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokenizer", type=Path, default=next(filter(Path.is_file, TOKENIZERS)))
    options = parser.parse_args()
    if not options.tokenizer.is_file():
        parser.error(f"no tokenizer at {options.tokenizer}: pass --tokenizer")
    options.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    tensors = {name: random_tensor(name, shape, rng) for name, shape in shapes()}
    save_file(tensors, options.out / "model.safetensors", metadata={"format": "pt"})
    (options.out / "config.json").write_text(json.dumps(CONFIG, indent=1))
    (options.out / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_CONFIG, indent=1))
    tokenizer = padded(json.loads(options.tokenizer.read_text(encoding="utf-8")))
    (options.out / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    size = sum(file.stat().st_size for file in options.out.iterdir())
    print(f"{options.out}: {len(tensors)} tensors, {size / 1e9:.2f} GB; tokenizer: {options.tokenizer}")


if __name__ == "__main__":
    main()
