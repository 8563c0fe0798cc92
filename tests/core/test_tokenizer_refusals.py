"""Tokenizers that would score in silence what they cannot read, and what the library raises about the others."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors

from bge_cpu import CheckpointError, Reranker
from bge_cpu.tokenizer import PairTokenizer
from tests import checkpoints

Change = Callable[[dict[str, Any]], None]


def edited(folder: Path, change: Change) -> Path:
    """The folder, its tokenizer.json changed."""
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    return folder


@pytest.fixture
def folder(tiny_xlmr: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(tiny_xlmr, tmp_path / "copy"))


def empty(kind: str) -> tokenizers.Tokenizer:
    """What transformers 5 writes where it finds no vocabulary: special tokens and nothing else."""
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    ids = {name: number for number, name in enumerate(names)}
    if kind == "unigram":
        model: Any = models.Unigram([(name, 0.0) for name in names], unk_id=3)
    else:
        model = models.WordPiece(ids, unk_token="<unk>") if kind == "wordpiece" else models.BPE(ids, [])
    made = tokenizers.Tokenizer(model)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer() if kind == "wordpiece" else pre_tokenizers.Metaspace()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return made


@pytest.mark.parametrize("kind", ["unigram", "wordpiece", "bpe"])
def test_a_tokenizer_that_was_written_empty_is_refused(folder: Path, kind: str) -> None:
    empty(kind).save(str(folder / "tokenizer.json"))
    with pytest.raises(CheckpointError, match=r"takes all letters for unknown, .*\nhint: it was written empty"):
        Reranker.load(folder, mode="onnx")


def test_capitals_that_lost_their_normalizer_are_missed(tmp_path: Path) -> None:
    made = checkpoints.tokenizer("bert")
    made.normalizer = normalizers.BertNormalizer(lowercase=False)
    with pytest.raises(CheckpointError, match="takes all capital letters for unknown"):
        PairTokenizer(made)


@pytest.mark.parametrize("letters", ["абвгдеионт", "的一是不了人我在有他", "다이는을가에의고한은"])
def test_a_vocabulary_of_one_script_is_fine(letters: str) -> None:
    names = ["<s>", "<pad>", "</s>", "<unk>", *letters, *"0123456789ab", *(f"##{letter}" for letter in letters)]
    made = tokenizers.Tokenizer(models.WordPiece({name: row for row, name in enumerate(names)}, unk_token="<unk>"))
    made.pre_tokenizer, made.post_processor = pre_tokenizers.BertPreTokenizer(), empty("wordpiece").post_processor
    (pair,) = PairTokenizer(made).encode([(letters[:3], letters[4])])
    assert 3 not in pair.ids


def test_a_vocabulary_far_smaller_than_the_models_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 250_002}))
    with pytest.raises(CheckpointError, match=r"gives \d+ ids, far fewer than the 250,002 .*\nhint: it is another"):
        Reranker.load(folder, mode="onnx")


def far_special(content: dict[str, Any]) -> None:
    content["post_processor"]["special_tokens"]["</s>"]["ids"] = [70_000]


def test_a_special_token_beyond_the_vocabulary_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gives 70,001 ids; the model of .* knows 400"):
        Reranker.load(edited(folder, far_special), mode="onnx")


def test_an_id_with_a_gap_before_it_is_refused(tmp_path: Path) -> None:
    folder = checkpoints.make(tmp_path, "bert")
    edited(folder, lambda content: content["model"]["vocab"].update({"gap": 5_000}))
    with pytest.raises(CheckpointError, match=r"gives 5,001 ids; the model of .* knows 400"):
        Reranker.load(folder, mode="onnx")


def charsmap(value: str | None) -> Change:
    return lambda content: content.update(normalizer={"type": "Precompiled", "precompiled_charsmap": value})


def pattern(regex: str) -> Change:
    split = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
    return lambda content: content.update(pre_tokenizer=split)


@pytest.mark.parametrize(
    "change",
    [charsmap(""), charsmap("AAAA"), charsmap(None), pattern("("), lambda content: content.pop("model")],
    ids=["empty charsmap", "charsmap of zeros", "no charsmap", "no pattern", "no model"],
)
def test_what_the_library_panics_or_raises_about_is_our_error(folder: Path, change: Change) -> None:
    edited(folder, change)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is not a readable tokenizer: .*\nhint: ") as caught:
        Reranker.load(folder, mode="onnx")
    assert len(str(caught.value).splitlines()) == 2


def test_a_pattern_that_explodes_ends_as_an_error_and_not_as_a_hang(folder: Path) -> None:
    reranker = Reranker.load(edited(folder, pattern("(x+x+)+y")), mode="onnx")
    document = "x" * 40_000
    with pytest.raises(CheckpointError, match="the tokenizer cannot encode some text"):
        reranker.score([("panda", document)])
    with pytest.raises(CheckpointError, match="the tokenizer cannot encode some text"):
        reranker.rank("panda", [document], long_documents="windows")


def test_a_vocabulary_without_an_unknown_token_is_refused(folder: Path) -> None:
    edited(folder, lambda content: content["model"].update(unk_id=None))
    with pytest.raises(CheckpointError, match=r"the tokenizer cannot encode some text: .*unknown"):
        Reranker.load(folder, mode="onnx")
