"""Tiny random checkpoints of the supported architectures, with real tokenizers, made on the spot, always the same."""

import json
import random
from pathlib import Path

import tokenizers
import torch
import transformers
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
CLASSES = {
    "xlm-roberta": (transformers.XLMRobertaConfig, transformers.XLMRobertaForSequenceClassification),
    "roberta": (transformers.RobertaConfig, transformers.RobertaForSequenceClassification),
    "bert": (transformers.BertConfig, transformers.BertForSequenceClassification),
}


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
        trainer = trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        made.train_from_iterator(SENTENCES, trainer)
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


def make(
    folder: Path, family: str, *, positions: int = POSITIONS, labels: int = 1, dtype: torch.dtype = torch.float32
) -> Path:
    """Write a tiny checkpoint whose logits spread over a few units; `positions` is the longest pair in tokens."""
    offset = 0 if family == "bert" else 2
    configuration, model = CLASSES[family]
    torch.manual_seed(0)
    config = configuration(
        vocab_size=VOCABULARY,
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=positions + offset,
        type_vocab_size=2 if family == "bert" else 1,
        initializer_range=0.3,
        num_labels=labels,
        pad_token_id=0 if family == "bert" else 1,
    )
    model(config).to(dtype).save_pretrained(folder)
    made = tokenizer(family)
    made.save(str(folder / "tokenizer.json"))
    return folder


def text(tokens: int, seed: int, words: tuple[str, ...] = tuple(" ".join(SENTENCES).split())) -> str:
    """Mixed Chinese and English words, at least as many as there are to be tokens."""
    return " ".join(random.Random(seed).choices(words, k=tokens))
