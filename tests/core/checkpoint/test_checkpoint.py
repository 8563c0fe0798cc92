"""Checkpoint folders: what is refused and why, and what a fingerprint notices."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers
from safetensors.numpy import load_file, save_file
from tokenizers import processors

from bge_cpu import CheckpointError, InputError, Reranker
from bge_cpu.checkpoint import Checkpoint, open_checkpoint
from tests import checkpoints, modes
from tests.modes import needs_torch
from tests.pairs import PAIRS


@pytest.fixture
def folder(tiny_xlmr: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(tiny_xlmr, tmp_path / "copy"))


def edit_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    config.update(changes)
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value != "gone"}))


def cut_weights(folder: Path, keep: float) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * keep)])


def flip_header(folder: Path) -> None:
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[10:20] = b"\xff" * 10
    file.write_bytes(content)


def huge_header(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes((2**60).to_bytes(8, "little") + file.read_bytes()[8:])


def drop_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["classifier.dense.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def escape_by_shards(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
    index = {"weight_map": {"classifier.dense.weight": "../outside.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def double_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_file(tensors, folder / "model-1.safetensors", metadata={"format": "pt"})
    twice = {"classifier.dense.weight": tensors["classifier.dense.weight"]}
    save_file(twice, folder / "model-2.safetensors", metadata={"format": "pt"})
    shards = dict.fromkeys(tensors, "model-1.safetensors") | {"classifier.dense.bias": "model-2.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))


def bert_template(folder: Path) -> None:
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), r"config\.json cannot be read: No such file"),
    "config no JSON": (lambda f: (f / "config.json").write_text("{"), r"config\.json is not JSON"),
    "config a list": (lambda f: (f / "config.json").write_text("[]"), "holds no JSON object"),
    "no tokenizer": (
        lambda f: (f / "tokenizer.json").unlink(),
        r"no tokenizer\.json\nhint: fetch it from",
    ),
    "tokenizer empty": (lambda f: (f / "tokenizer.json").write_text(""), "not a readable tokenizer"),
    "two labels": (lambda f: edit_config(f, id2label={"0": "a", "1": "b"}), "with 2 labels; a reranker has 1"),
    "labels not said": (lambda f: edit_config(f, id2label="gone"), "with 2 labels"),
    "embedding model": (lambda f: edit_config(f, architectures=["XLMRobertaModel"]), "XLMRobertaModel, not a sequence"),
    "no architecture": (lambda f: edit_config(f, architectures="gone"), "none named"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), r"has no model\.safetensors\nhint: name the folder"),
    "weights cut at half": (lambda f: cut_weights(f, 0.5), "not a whole safetensors file"),
    "weights cut in header": (lambda f: cut_weights(f, 0.001), "not a whole safetensors file"),
    "weights empty": (lambda f: cut_weights(f, 0), "not a whole safetensors file"),
    "header garbled": (flip_header, "not a whole safetensors file"),
    "header too long": (huge_header, "not a whole safetensors file"),
    "tensor missing": (drop_tensor, r"lacks the tensors? classifier\.dense\.weight"),
    "shards outside": (escape_by_shards, "shards that are not in its folder"),
    "a layer too many": (lambda f: edit_config(f, num_hidden_layers=2), "holds more layers than"),
    "a tensor twice": (double_tensor, r"in more than one file of .*: classifier\.dense\.weight"),
    "vocabulary no number": (lambda f: edit_config(f, vocab_size=None), "vocab_size in .* is a whole number, not None"),
    "positions no number": (lambda f: edit_config(f, max_position_embeddings="x"), "is a whole number, not 'x'"),
    "architectures no list": (lambda f: edit_config(f, architectures={"a": 1}), "architectures in .* is a list"),
    "labels no table": (lambda f: edit_config(f, id2label=5), "with 2 labels"),
    "types too few": (bert_template, r"gives 2 token types; the model of .* knows 1"),
    "vocabulary too small": (lambda f: edit_config(f, vocab_size=10), r"gives \d+ ids; the model of .* knows 10"),
}


@pytest.mark.parametrize("mode", modes.params("fp32", "onnx"))
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoints_are_refused(folder: Path, damage: str, mode: str) -> None:
    harm, message = DAMAGES[damage]
    harm(folder)
    with pytest.raises(CheckpointError, match=message):
        Reranker.load(folder, mode=mode)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_act": "gelu_new"}, "hidden_act is 'gelu_new'; the ONNX modes run 'gelu'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ({"layer_norm_eps": "gone"}, "layer_norm_eps in config.json is a number, not None"),
        ({"is_decoder": True}, "is_decoder is True; the ONNX modes run False"),
        ({"model_type": "bert"}, "model_type is 'bert'; that of XLMRobertaForSequenceClassification is 'xlm-roberta'"),
        ({"model_type": "gone"}, "model_type is None"),
        ({"hidden_size": "64"}, "hidden_size in config.json is a whole number of at least 1, not '64'"),
        ({"num_attention_heads": 0}, "num_attention_heads in config.json is a whole number"),
        ({"num_attention_heads": 7}, "hidden_size 64 does not divide by 7 attention heads"),
        ({"intermediate_size": 64}, r"tensor .*intermediate.* has shape \(128, 64\); its config says \(64, 64\)"),
    ],
)
def test_settings_that_onnx_does_not_know_are_refused(folder: Path, changes: dict[str, object], message: str) -> None:
    edit_config(folder, **changes)
    with pytest.raises(CheckpointError, match=message):
        Reranker.load(folder, mode="onnx")


@pytest.mark.slow
@needs_torch
def test_pickled_weights_are_never_opened(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"never opened: pytorch_model\.bin"):
        Reranker.load(folder, mode="fp32")


@pytest.mark.slow
@needs_torch
def test_code_of_a_checkpoint_is_never_run(folder: Path) -> None:
    edit_config(folder, model_type="evil", auto_map={"AutoModelForSequenceClassification": "evil.Evil"})
    (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w').close()")
    with pytest.raises(CheckpointError, match="transformers cannot load"):
        Reranker.load(folder, mode="fp32")
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("model", ["./nowhere", "/no/where", "nowhere", Path("nobody/nothing"), "~/nowhere"])
def test_missing_folders_are_named(model: str | Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint folder"):
        open_checkpoint(model)


@pytest.mark.parametrize("model", ["~nosuchuser/foo", "a" * 5_000, "nul\0byte/x"])
def test_names_that_no_folder_can_have_are_refused(model: str) -> None:
    with pytest.raises(CheckpointError):
        open_checkpoint(model)


@pytest.mark.parametrize("revision", [3, ""])
def test_odd_revisions_are_refused(revision: object) -> None:
    with pytest.raises(InputError, match="revision is None, a branch"):
        open_checkpoint("someone/something", revision=revision)  # type: ignore[arg-type]


@pytest.mark.parametrize("model", [None, "", 3, b"mini"])
def test_what_names_no_model_is_refused(model: object) -> None:
    with pytest.raises(InputError, match="model is a Hub id, a folder or 'mini'"):
        open_checkpoint(model)  # type: ignore[arg-type]


def test_a_file_is_no_checkpoint(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint folder"):
        open_checkpoint(folder / "config.json")


@pytest.mark.parametrize("mode", modes.params("fp32", "onnx"))
def test_shards_score_as_one_file(tiny_xlmr: Path, tmp_path: Path, mode: str) -> None:
    tensors = load_file(tiny_xlmr / "model.safetensors")
    shards = {name: f"model-{1 + number % 3:05}-of-00003.safetensors" for number, name in enumerate(tensors)}
    for file in set(shards.values()):
        checkpoints.save({name: tensors[name] for name in tensors if shards[name] == file}, tmp_path / file)
    index = {"metadata": {}, "weight_map": shards}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(tiny_xlmr / name, tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    whole = Reranker.load(tiny_xlmr, mode=mode).score(PAIRS)
    assert Reranker.load(tmp_path, mode=mode).score(PAIRS) == pytest.approx(whole, abs=1e-5)


def test_longest_pair(tiny: Path) -> None:
    assert open_checkpoint(tiny).max_length == checkpoints.POSITIONS


def test_longest_pair_of_v2_m3() -> None:
    config = {"model_type": "xlm-roberta", "max_position_embeddings": 8_194, "pad_token_id": 1}
    assert Checkpoint("v2-m3", Path(), config, ()).max_length == 8_192


def test_fingerprint_notices_every_change_of_content(folder: Path) -> None:
    def fingerprint() -> str:
        return open_checkpoint(folder).fingerprint()

    seen = [fingerprint()]
    os.utime(folder / "model.safetensors", ns=(0, 0))
    assert fingerprint() == seen[0]
    status = (folder / "model.safetensors").stat()
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1  # of the same size and time
    (folder / "model.safetensors").write_bytes(content)
    os.utime(folder / "model.safetensors", ns=(status.st_atime_ns, status.st_mtime_ns))
    seen.append(fingerprint())
    with (folder / "tokenizer.json").open("a") as stream:
        stream.write("\n")
    seen.append(fingerprint())
    edit_config(folder, layer_norm_eps=1e-6)
    seen.append(fingerprint())
    drop_tensor(folder)
    seen.append(fingerprint())
    assert len(set(seen)) == len(seen)
