"""A cross-encoder made from an encoder's chosen layers, its scores for pairs, and the folder it ships in."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification

_TOKENS = 1_024  # per forward pass, padding included: few enough to stay in a core's cache
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def build(base: Path, layers: Sequence[int]) -> BertForSequenceClassification:
    """A cross-encoder with one logit, float32, from a BERT encoder's embeddings and chosen layers; pooler and head new.

    The word embeddings are frozen: most pieces are rare, and those that training never sees should stay comparable
    to those it does. There is no dropout: a run sees too few pairs to learn them by heart.

    Args:
        base: The encoder's checkpoint folder: model.safetensors, config.json.
        layers: Which of its layers to keep, from 0, bottom first.

    Raises:
        ValueError: The base has no such layer.
    """
    config = BertConfig.from_pretrained(base)
    if not layers or not all(0 <= layer < config.num_hidden_layers for layer in layers):
        raise ValueError(f"layers are some of 0 to {config.num_hidden_layers - 1}, not {list(layers)}")
    config.num_hidden_layers, config.num_labels = len(layers), 1
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    config._attn_implementation = "eager"  # the backward pass of "sdpa" takes 15 times as long on a CPU
    model = BertForSequenceClassification(config)
    weights = {}
    for name, tensor in load_file(base / "model.safetensors").items():
        parts = name.removeprefix("bert.").split(".")
        if parts[:2] == ["encoder", "layer"]:
            if int(parts[2]) not in layers:
                continue
            parts[2] = str(list(layers).index(int(parts[2])))
        if parts[-1] != "position_ids":  # in checkpoints of older releases
            weights[".".join(parts)] = tensor.float()
    missing, unexpected = model.bert.load_state_dict(weights, strict=False)
    if unexpected or any(not name.startswith("pooler.") for name in missing):
        raise ValueError(f"{base} is no BERT encoder: missing {missing}, unexpected {unexpected}")
    model.bert.embeddings.word_embeddings.weight.requires_grad_(False)
    return model


class Scorer:
    """A cross-encoder with its tokenizer: pairs -> tokens -> logits, under bfloat16 autocast.

    Args:
        model: The cross-encoder.
        tokenizer: A tokenizer.json; its post-processor has the pair format.
        max_length: The longest pair, in tokens; of a longer one the longer text is cut.
    """

    def __init__(self, model: BertForSequenceClassification, tokenizer: Path, max_length: int) -> None:
        self.model = model
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.enable_truncation(max_length)

    def encode(self, pairs: Sequence[tuple[str, str]]) -> tuple[list[list[int]], int]:
        """The token ids of each pair, and how many pairs were cut."""
        encodings = self._tokenizer.encode_batch(list(pairs))
        return [encoding.ids for encoding in encodings], sum(bool(encoding.overflowing) for encoding in encodings)

    def logits(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """The logits of pairs, float32, (pairs,), in their order; those of like length are computed together."""
        order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
        places: list[int] = []
        logits = [torch.empty(0)]
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):  # the cache is shared by all threads
            while order:
                count = max(1, _TOKENS // len(ids[order[-1]]))
                chunk, order = order[-count:], order[:-count]
                places += chunk
                logits.append(self._forward([torch.tensor(ids[index]) for index in chunk]))
        return torch.cat(logits)[torch.tensor(places, dtype=torch.long).argsort()]

    def _forward(self, ids: list[Tensor]) -> Tensor:
        tokens = torch.nn.utils.rnn.pad_sequence(
            ids, batch_first=True, padding_value=float(self.model.config.pad_token_id or 0)
        )
        lengths = torch.tensor([len(each) for each in ids])
        mask = (torch.arange(tokens.shape[1]) < lengths[:, None]).long()
        logits: Tensor = self.model(tokens, attention_mask=mask).logits
        return logits[:, 0].float()


def export(weights: dict[str, Tensor], base: Path, layers: Sequence[int], out: Path) -> int:
    """Write the folder to ship: model.safetensors in float16, config.json and the tokenizer; its size in bytes.

    Args:
        weights: The cross-encoder's, by name.
        base: Where it was built from; the tokenizer comes from there.
        layers: The layers it was built from.
        out: The folder.
    """
    model = build(base, layers)
    model.load_state_dict(weights)
    out.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    config = {**model.config.to_diff_dict(), "architectures": ["BertForSequenceClassification"], "dtype": "float16"}
    (out / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    for name in _TOKENIZER_FILES:
        shutil.copyfile(base / name, out / name)
    return sum(file.stat().st_size for file in out.iterdir())
