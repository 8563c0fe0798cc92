"""Tiny random checkpoints of the supported architectures, with real tokenizers, made on the spot, always the same.

Neither PyTorch nor transformers is needed: the tensors are drawn with numpy, as transformers initialises them, and
written as transformers would write them.
"""

import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

SENTENCES = [
    "什么是人工智能? 人工智能是让机器模拟人类智能行为的技术。",
    "糖尿病足患者应注意足部清洁,避免感染,定期检查皮肤破损。",
    "足疗店提供全身按摩服务,包括足部精油护理,缓解疲劳。",
    "胰岛素注射是控制血糖的重要手段之一,需遵医嘱使用。",
    "The giant panda is a bear species endemic to China, easily known by its black-and-white coat.",
    "Retrieval recalls documents by the similarity of their embeddings and falls for keyword traps.",
    "A cross-encoder reads query and document together; it's slow, but it isn't fooled by a shared word.",
    "Prices rose by 3.5 % in 2026 (from $1,200 to $1,242); naïve façades, Straße, ação, ½ and №7 stay.",
    "Whether it rains or shines, the quick brown fox jumps over the lazy dog -- twice, if need be!",
    "深度学习模型在没有显卡的机器上运行缓慢,量化可以减小体积并提高速度。",
]
VOCABULARY = 400
POSITIONS = 512
HIDDEN, LAYERS, HEADS, INTERMEDIATE = 64, 3, 4, 128
SEED = 3
SPREAD = 0.3
"""The standard deviation of matrices and embeddings: so large that logits spread over a few units.

With this seed INT8 ranks much like float32, as trained weights do; most random ones lose more.
"""

CLASSES = {
    "xlm-roberta": "XLMRobertaForSequenceClassification",
    "roberta": "RobertaForSequenceClassification",
    "bert": "BertForSequenceClassification",
}
_NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
"""How weights can be stored: as config.json names it, and as safetensors files do."""

Tensors = Mapping[str, NDArray[Any]]


def tokenizer(family: str) -> tokenizers.Tokenizer:
    """SentencePiece-like Unigram, byte-level BPE or WordPiece, each with its family's pair format."""
    if family == "xlm-roberta":
        made = tokenizers.Tokenizer(models.Unigram())
        made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(tokenizers.Regex(r"\s+"), " ")])
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
        made.decoder = decoders.Metaspace()
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        trainer = trainers.UnigramTrainer(
            vocab_size=VOCABULARY, special_tokens=special, unk_token="<unk>", show_progress=False
        )
        made.train_from_iterator(SENTENCES, trainer)
        # The trainer orders pieces of one score, and scores rare characters, at random: characters get one score here.
        trained = dict(json.loads(made.to_str())["model"]["vocab"][len(special) :])
        least = round(min(trained.values()), 1)
        scores = {piece: round(score, 6) if len(piece) > 1 else least for piece, score in trained.items()}
        pieces = [(piece, 0.0) for piece in special] + sorted(scores.items(), key=lambda piece: (-piece[1], piece[0]))
        made.model = models.Unigram(pieces, unk_id=special.index("<unk>"))
        made.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
        )
    elif family == "roberta":
        made = tokenizers.Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        bpe_trainer = trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        made.train_from_iterator(SENTENCES, bpe_trainer)
        made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    else:
        # WordPiece's trainer settles ties at random: so all characters, and as many words as there is room for.
        normalizer, pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
        texts = [normalizer.normalize_str(sentence) for sentence in SENTENCES]
        words = {word for text in texts for word, _ in pre_tokenizer.pre_tokenize_str(text)}
        characters = sorted({character for word in words for character in word})
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        pieces = [*special, *characters, *(f"##{character}" for character in characters if character.isascii())]
        pieces = list(dict.fromkeys(pieces + sorted(words)))[:VOCABULARY]
        vocabulary = {piece: row for row, piece in enumerate(pieces)}
        made = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
        made.normalizer, made.pre_tokenizer = normalizer, pre_tokenizer
        made.add_special_tokens(special)
        made.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
        )
    return made


def make(folder: Path, family: str, *, positions: int = POSITIONS, dtype: str = "float32") -> Path:
    """Write a tiny checkpoint whose logits spread over a few units.

    Args:
        folder: Where; made if need be.
        family: "xlm-roberta", "roberta" or "bert".
        positions: The longest pair in tokens.
        dtype: How the weights are stored: "float32", "float16" or "bfloat16".
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = config(family, positions=positions, dtype=dtype)
    (folder / "config.json").write_text(json.dumps(settings, indent=1))
    save(dict(_tensors(settings)), folder / "model.safetensors", dtype=dtype)
    tokenizer(family).save(str(folder / "tokenizer.json"))
    return folder


def config(family: str, *, positions: int = POSITIONS, dtype: str = "float32") -> dict[str, Any]:
    """The config.json of a tiny checkpoint, as transformers writes it."""
    bert = family == "bert"
    return {
        "architectures": [CLASSES[family]],
        "model_type": family,
        "dtype": dtype,
        "hidden_act": "gelu",
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": INTERMEDIATE,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": positions + (0 if bert else 2),
        "pad_token_id": 0 if bert else 1,
        "type_vocab_size": 2 if bert else 1,
        "vocab_size": VOCABULARY,
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
    }


def save(tensors: Tensors, file: Path, *, dtype: str = "float32") -> None:
    """Write float32 tensors as a safetensors file of the given type; by hand, for numpy has no bfloat16."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, tensor in tensors.items():
        stored = _stored(tensor, dtype).tobytes()
        offsets = [len(data), len(data) + len(stored)]
        header[name] = {"dtype": _NAMES[dtype], "shape": tensor.shape, "data_offsets": offsets}
        data += stored
    text = json.dumps(header).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)


def _stored(tensor: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Float32 values in another type; those of bfloat16 as the upper halves of float32, rounded to nearest even."""
    if dtype != "bfloat16":
        return tensor.astype(dtype)
    bits = tensor.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _tensors(settings: Mapping[str, Any]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Weights as transformers draws them: normal matrices, norms of 1, biases of 0, no embedding for padding."""
    rng = np.random.default_rng(SEED)
    for name, shape in _shapes(settings):
        if len(shape) == 2:
            drawn = rng.standard_normal(shape, dtype=np.float32) * np.float32(SPREAD)
            if name.endswith("word_embeddings.weight"):
                drawn[settings["pad_token_id"]] = 0
            yield name, drawn
        else:
            yield name, np.full(shape, 1.0 if name.endswith("LayerNorm.weight") else 0.0, np.float32)


def _shapes(settings: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The names of all tensors, and their shapes."""
    bert = settings["model_type"] == "bert"
    prefix = "bert" if bert else "roberta"

    def linear(name: str, rows: int, columns: int = HIDDEN) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{name}.weight", (rows, columns)
        yield f"{name}.bias", (rows,)

    def norm(name: str) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{name}.LayerNorm.weight", (HIDDEN,)
        yield f"{name}.LayerNorm.bias", (HIDDEN,)

    embeddings = f"{prefix}.embeddings"
    for table, rows in (
        ("word", settings["vocab_size"]),
        ("position", settings["max_position_embeddings"]),
        ("token_type", settings["type_vocab_size"]),
    ):
        yield f"{embeddings}.{table}_embeddings.weight", (rows, HIDDEN)
    yield from norm(embeddings)
    for number in range(settings["num_hidden_layers"]):
        layer = f"{prefix}.encoder.layer.{number}"
        for part in ("query", "key", "value"):
            yield from linear(f"{layer}.attention.self.{part}", HIDDEN)
        yield from linear(f"{layer}.attention.output.dense", HIDDEN)
        yield from norm(f"{layer}.attention.output")
        yield from linear(f"{layer}.intermediate.dense", INTERMEDIATE)
        yield from linear(f"{layer}.output.dense", HIDDEN, INTERMEDIATE)
        yield from norm(f"{layer}.output")
    yield from linear("bert.pooler.dense" if bert else "classifier.dense", HIDDEN)
    yield from linear("classifier" if bert else "classifier.out_proj", 1)


def text(tokens: int, seed: int, words: tuple[str, ...] = tuple(" ".join(SENTENCES).split())) -> str:
    """Mixed Chinese and English words, at least as many as there are to be tokens."""
    return " ".join(random.Random(seed).choices(words, k=tokens))


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
