"""What is no cross-encoder is named for what it is, with a way out; files are regular and of a bounded size."""

import json
import os
import shutil
import socket
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bge_cpu import CheckpointError, InputError, Reranker
from bge_cpu.checkpoint import open_checkpoint
from bge_cpu.checkpoint.refusals import no_weights
from bge_cpu.checkpoint.weights import Weights
from tests import checkpoints, modes

WEIGHTS = "model.safetensors"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 2271071852\n"


@pytest.fixture
def folder(tiny_xlmr: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(tiny_xlmr, tmp_path / "copy"))


def configure(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def architecture(name: str, *others: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        configure(folder, architectures=[name])
        for other in others:
            (folder / other).write_text("[]")

    return change


def instead_of_weights(*names: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / WEIGHTS).unlink()
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("{}")

    return change


def adapter(folder: Path) -> None:
    instead_of_weights("adapter_config.json", "adapter_model.safetensors")(folder)
    (folder / "config.json").unlink()


def replaced(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


def pipe(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return change


def link(name: str, target: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return change


def sockets(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    here = os.getcwd()
    os.chdir(folder)  # a socket's address is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("tokenizer.json")
    finally:
        os.chdir(here)


def without_tokenizer(*others: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        for other in others:
            (folder / other).write_text("")

    return change


CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "pickled only": (
        instead_of_weights("pytorch_model.bin", "training_args.bin"),
        r"but pickled weights, which are never opened: pytorch_model\.bin\nhint: load them once with transformers",
    ),
    "ONNX only": (
        instead_of_weights("onnx/model.onnx"),
        r"but ONNX graphs, and bge-cpu makes its own .*: onnx/model\.onnx\nhint: take the repository of the model",
    ),
    "GGUF only": (instead_of_weights("q4.gguf"), r"but llama\.cpp's weights: q4\.gguf"),
    "LoRA adapter": (adapter, "is a LoRA adapter, not a whole model\nhint: merge it into its base model with peft"),
    "weights a pointer": (replaced(WEIGHTS, POINTER), r"safetensors is a Git LFS pointer, .*\nhint: run git lfs pull"),
    "tokenizer a pointer": (replaced("tokenizer.json", POINTER), r"tokenizer\.json is a Git LFS pointer"),
    "config a pointer": (replaced("config.json", POINTER), r"config\.json is a Git LFS pointer"),
    "language model": (
        architecture("Qwen3ForCausalLM"),
        r"it is a language model, .*\nhint: take a reranker",
    ),
    "modules": (architecture("ModernBertModel", "modules.json"), "an embedding model, or a reranker whose head is not"),
    "masked": (architecture("BertForMaskedLM"), "it is a language model without a classifier"),
    "no tokenizer, sentencepiece": (
        without_tokenizer("sentencepiece.bpe.model"),
        r"no tokenizer\.json, but sentencepiece\.bpe\.model\nhint: .*hf download .* pip install transformers sentencep",
    ),
    "no tokenizer, words": (without_tokenizer("vocab.txt"), r"but vocab\.txt\nhint: .*pip install transformers, then"),
    "no tokenizer, merges": (
        without_tokenizer("vocab.json", "merges.txt"),
        r"but vocab\.json\nhint: .*save_pretrained",
    ),
    "no tokenizer, half of one": (without_tokenizer("vocab.json"), r"has no tokenizer\.json\nhint: fetch it from"),
    "no tokenizer at all": (without_tokenizer(), "hint: fetch it from the model's repository: hf download OWNER/NAME"),
    "config nested": (replaced("config.json", '{"a": ' + "[" * 100_000), r"config\.json is not JSON: .*too deeply"),
    "record nested": (replaced("bge_cpu.json", "[" * 100_000), r"bge_cpu\.json is damaged: .*nested too deeply"),
    "tokenizer nested": (replaced("tokenizer.json", "[" * 100_000), r"tokenizer\.json is not a readable tokenizer"),
    "header nested": (
        lambda folder: (folder / WEIGHTS).write_bytes((100_000).to_bytes(8, "little") + b"[" * 100_000),
        "is not a whole safetensors file",
    ),
    "huge digits": (replaced("config.json", '{"vocab_size": 1' + "0" * 6_000 + "}"), r"config\.json"),
    "config a pipe": (pipe("config.json"), r"config\.json is not a regular file"),
    "tokenizer a pipe": (pipe("tokenizer.json"), r"tokenizer\.json is not a regular file"),
    "tokenizer a socket": (sockets, r"tokenizer\.json is not a regular file"),
    "weights a pipe": (pipe(WEIGHTS), r"model\.safetensors is not a regular file"),
    "record a pipe": (pipe("bge_cpu.json"), r"bge_cpu\.json is not a regular file"),
    "config endless": (link("config.json", "/dev/zero"), r"config\.json is not a regular file"),
    "weights endless": (link(WEIGHTS, "/dev/zero"), r"model\.safetensors is not a regular file"),
    "config far too large": (
        lambda folder: os.truncate(folder / "config.json", 1 << 40),
        r"config\.json has more than 256 MB",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_it_is_and_what_to_do(folder: Path, case: str) -> None:
    change, message = CASES[case]
    change(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        Reranker.load(folder, mode="onnx")
    assert len(str(caught.value).splitlines()) <= 2


def test_a_hub_repository_is_told_of_by_its_files() -> None:
    error = no_weights("someone/something", ["config.json", "onnx/model.onnx", "onnx/model_fp16.onnx"])
    assert "someone/something has no model.safetensors, but ONNX graphs" in str(error)
    assert "LoRA adapter" in str(no_weights("a/b", ["adapter_config.json", "adapter_model.bin"]))


@modes.needs_torch
@pytest.mark.slow
@pytest.mark.parametrize("model_type", ["evil", "xlm-roberta"])
def test_code_of_a_models_own_is_named_as_the_reason(folder: Path, model_type: str) -> None:
    configure(folder, model_type=model_type, auto_map={"AutoModelForSequenceClassification": "evil.Evil"})
    if model_type == "xlm-roberta":  # a type that transformers knows, tensors that only the code does
        tensors = {f"own.{name}": tensor for name, tensor in load_file(folder / WEIGHTS).items()}
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="needs code of its own") as caught:
        Reranker.load(folder, mode="fp32")
    assert "trust_remote_code" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("mode", modes.params("onnx", "onnx-int8", "fp32"))
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_hidden_layers", 10**9),
        ("num_hidden_layers", 10**4_000),
        ("num_hidden_layers", 400),
        ("num_hidden_layers", -2_000),
        ("num_hidden_groups", 10**9),
        ("block_sizes", [1, 10**9]),
        ("text_config", {"num_hidden_layers": 10**9}),
        ("hidden_size", 2**31 - 1),
        ("intermediate_size", 2**31 - 1),
        ("vocab_size", 2**31 - 1),
        ("max_position_embeddings", 2**31 - 1),
        ("pad_token_id", 2**31 - 1),
        ("pad_token_id", -5),
        ("max_position_embeddings", -5),
    ],
)
def test_numbers_that_do_not_fit_the_tensors_end_before_anything_is_built(
    folder: Path, mode: str, key: str, value: object
) -> None:
    configure(folder, **{key: value})
    with pytest.raises(CheckpointError) as caught:
        Reranker.load(folder, mode=mode, min_fidelity=None, cache_dir=folder.parent / "cache")
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("mode", modes.params("onnx", "onnx-int8", "fp32"))
@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint8])
def test_whole_numbers_where_floats_belong_are_refused(folder: Path, mode: str, dtype: type) -> None:
    tensors = load_file(folder / WEIGHTS)
    name = "roberta.encoder.layer.1.output.dense.weight"
    tensors[name] = tensors[name].astype(dtype)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=rf"tensor {name} .* is stored as [IU]\d+, not as a float"):
        Reranker.load(folder, mode=mode, min_fidelity=None, cache_dir=folder.parent / "cache")


@pytest.mark.parametrize("mode", ["onnx", "onnx-int8"])
def test_other_kinds_of_tensors_in_an_exported_folder_are_refused(tiny_xlmr: Path, tmp_path: Path, mode: str) -> None:
    """They would be read as what they are not, beyond their end: memory that is nobody's."""
    from bge_cpu.engines import onnx, onnx_int8
    from bge_cpu.export import export

    out = export(tiny_xlmr, tmp_path / "out", mode=mode, min_fidelity=None, cache_dir=tmp_path / "cache")
    tensors = dict(Weights([out / WEIGHTS]).items())
    name = "roberta.encoder.layer.0.intermediate.dense.weight"
    tensors[name] = tensors[name].astype(np.float32 if mode == "onnx-int8" else np.int8)
    save_file(tensors, tmp_path / WEIGHTS)
    del tensors
    shutil.move(tmp_path / WEIGHTS, out / WEIGHTS)
    checkpoint = open_checkpoint(out)
    with pytest.raises(CheckpointError, match=f"tensor {name} of .* is stored as "):
        if mode == "onnx":
            onnx.load(checkpoint, threads=1)
        else:
            onnx_int8.from_file(checkpoint, out / WEIGHTS, threads=1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("onnx-int8", "roberta.embeddings.word_embeddings.weight"),
        ("onnx-int8", "roberta.encoder.layer.0.attention.self.value.weight"),
        ("onnx-int8", "roberta.encoder.layer.0.intermediate.dense.weight"),
        *(
            pytest.param("native-int8", f"roberta.{name}.weight", marks=modes.needs_kernels)
            for name in (
                "embeddings.word_embeddings",
                "encoder.layer.0.attention.self.value",
                "encoder.layer.0.intermediate.dense",
            )
        ),
        pytest.param(
            "int8", "roberta.encoder.layer.0.intermediate.dense.weight", marks=[modes.needs_torch, pytest.mark.slow]
        ),
    ],
)
def test_values_that_int8_would_hide_are_refused(folder: Path, mode: str, value: float, name: str) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors[name][7, 3] = value
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    refused = pytest.raises(CheckpointError, match=f"tensor {name} holds values that are not finite, first in row 7")
    with refused, warnings.catch_warnings():
        warnings.simplefilter("error")  # numpy's
        Reranker.load(folder, mode=mode, min_fidelity=None, cache_dir=folder.parent / "cache")


@pytest.mark.parametrize("int8", [False, True])
def test_the_tensors_of_an_architecture_are_those_of_its_graph(tiny: Path, int8: bool) -> None:
    from bge_cpu.checkpoint.architecture import Architecture
    from bge_cpu.graph import build
    from bge_cpu.graph.linear import Float32, Int8

    architecture = Architecture.from_config(json.loads((tiny / "config.json").read_text()))
    expected = build(architecture, Int8() if int8 else Float32())[1]
    assert {name: shape for name, shape, _ in architecture.tensors(int8=int8)} == expected


def test_the_default_length_is_what_the_model_takes(tmp_path: Path, tiny_xlmr: Path) -> None:
    short = checkpoints.make(tmp_path / "short", "xlm-roberta", positions=40)
    assert Reranker.load(short, mode="onnx").tokenizer.max_length == 40
    assert Reranker.load(short, mode="onnx", max_length=None).tokenizer.max_length == 40
    assert Reranker.load(short, mode="onnx", max_length=30).tokenizer.max_length == 30
    assert Reranker.load(short, min_fidelity=0.0, cache_dir=tmp_path / "cache").tokenizer.max_length == 40
    assert Reranker.load(tiny_xlmr, mode="onnx").tokenizer.max_length == 512
    with pytest.raises(InputError, match=r"max_length is 41; .* takes at most 40 tokens"):
        Reranker.load(short, mode="onnx", max_length=41)
    long = checkpoints.make(tmp_path / "long", "xlm-roberta", positions=600)
    assert Reranker.load(long, mode="onnx").tokenizer.max_length == 512
