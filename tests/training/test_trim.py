"""A base checkpoint -> the same with only the pieces that the texts need."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

pytest.importorskip("torch", reason="training needs PyTorch")

from training import trim

TABLE = "embeddings.word_embeddings.weight"


def test_texts_of_the_corpus_are_cut_as_before(base: Path, small: Path, lists: Path) -> None:
    before, after = (Tokenizer.from_file(str(folder / "tokenizer.json")) for folder in (base, small))
    assert after.get_vocab_size() == 215 < before.get_vocab_size()
    old, new = (load_file(folder / "model.safetensors")[TABLE] for folder in (base, small))
    for text in trim.read(lists / "passages.jsonl"):
        was, now = before.encode(text, "pair"), after.encode(text, "pair")
        assert now.tokens == was.tokens
        assert np.array_equal(new[now.ids], old[was.ids])


def test_every_single_character_stays(base: Path, small: Path) -> None:
    before, after = (Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab() for folder in (base, small))
    assert {piece for piece in before if len(piece) == 1} <= set(after)


def test_special_tokens_and_configuration_follow(small: Path) -> None:
    tokenizer = Tokenizer.from_file(str(small / "tokenizer.json"))
    config = json.loads((small / "config.json").read_text())
    assert tokenizer.encode("", "").tokens == ["<s>", "</s>", "</s>", "</s>"]
    assert config["vocab_size"] == 215
    assert config["pad_token_id"] == tokenizer.token_to_id("<pad>")


def test_cost_of_held_out_texts(base: Path, small: Path) -> None:
    before, after = (Tokenizer.from_file(str(folder / "tokenizer.json")) for folder in (base, small))
    same = trim.cost(before, before, ["brown fox", "显卡"])
    assert (same.unknown, same.inflation) == (0.0, 1.0)
    assert "word" in before.get_vocab() and "word" not in after.get_vocab()
    longer = trim.cost(before, after, ["word"])
    assert (longer.tokens, longer.unknown, longer.inflation) == (2, 0.0, 2.5)


def test_cost_of_a_character_that_is_gone(base: Path) -> None:
    before = Tokenizer.from_file(str(base / "tokenizer.json"))
    kept = sorted(index for piece, index in before.get_vocab().items() if piece not in ("机", "机器"))
    after = Tokenizer.from_str(json.dumps(trim.trimmed(json.loads(before.to_str()), kept)))
    assert trim.cost(before, after, ["机"]) == trim.Cost(tokens=2, unknown=0.5, inflation=1.0)


def test_texts_of_a_corpus_with_blank_lines(tmp_path: Path) -> None:
    file = tmp_path / "corpus.jsonl"
    file.write_text('{"text": "fox"}\n\n{"query": "dog", "negatives": ["cat"]}\n')
    assert list(trim.read(file)) == ["fox", "dog", "cat"]


def test_too_few_pieces(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="have to be kept, not 20 pieces"):
        trim.trim(base, tmp_path, ["fox"], 20)
