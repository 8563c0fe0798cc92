"""`bge-cpu export`: folders that the article's ONNX Runtime snippet runs, and `Reranker.load`."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import checkpoints
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open

from bge_cpu import ArtifactError, BgeCpuError, CheckpointError, FidelityError, InputError, Reranker
from bge_cpu.checkpoint import open_checkpoint
from bge_cpu.checkpoint.record import recorded_mode
from bge_cpu.engines import onnx_int8
from bge_cpu.export import export
from bge_cpu.quantization.artifacts import TENSORS, check
from bge_cpu.tokenizer import PairTokenizer

PAIRS = [("what is 熊猫?", checkpoints.text(length, seed=length)) for length in (40, 1, 3, 60, 9, 20)]
COMMAND = [sys.executable, "-c", "from bge_cpu.cli import main; main()"]


def snippet(out: Path, pairs: list[tuple[str, str]], *, side: str = "right") -> list[float]:
    """The article's ONNX inference, unchanged but for the padding side and token types where the graph takes them."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(out, padding_side=side)
    session = onnxruntime.InferenceSession(f"{out}/model.onnx", providers=["CPUExecutionProvider"])
    inputs = tokenizer(pairs, return_tensors="np", padding=True, truncation=True, max_length=512)
    feed = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}
    if "token_type_ids" in [value.name for value in session.get_inputs()]:
        feed["token_type_ids"] = inputs["token_type_ids"]
    assert len(set(inputs["attention_mask"].sum(axis=1))) > 1, "without padding there is nothing to mask"
    scores: list[float] = session.run(None, feed)[0].flatten().tolist()
    return scores


@pytest.fixture(scope="module")
def exported(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tiny, tmp_path_factory.mktemp("exported") / "out", mode="onnx")


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_articles_snippet_agrees_with_onnx(tiny: Path, exported: Path, side: str) -> None:
    expected = Reranker.load(tiny, mode="onnx").score(PAIRS)
    assert np.ptp(expected) > 0.5
    assert snippet(exported, PAIRS, side=side) == pytest.approx(expected, abs=1e-4)


def test_it_loads_with_the_sources_scores_to_the_bit_wherever_it_is(tiny: Path, exported: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(exported, tmp_path / "moved 到")
    scores = Reranker.load(tiny, mode="onnx").score(PAIRS)
    assert Reranker.load(exported, mode="onnx").score(PAIRS) == scores
    assert Reranker.load(moved, mode="onnx").score(PAIRS) == scores
    assert snippet(moved, PAIRS) == pytest.approx(scores, abs=1e-4)


def test_it_is_a_checkpoint_for_transformers_too(tiny: Path, exported: Path) -> None:
    assert Reranker.load(tiny, mode="fp32").score(PAIRS) == pytest.approx(torch_scores(exported, PAIRS), abs=1e-4)


def torch_scores(folder: Path, pairs: list[tuple[str, str]]) -> list[float]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if model.config.type_vocab_size > 1 else [])]
    inputs = tokenizer(pairs, return_tensors="pt", padding=True)
    with torch.inference_mode():
        logits: torch.Tensor = model(**{name: inputs[name] for name in names}).logits
    return logits[:, 0].tolist()


def test_inputs_outputs_and_files(tiny: Path, exported: Path) -> None:
    model = onnx.load(exported / "model.onnx", load_external_data=False)
    onnx.checker.check_model(str(exported / "model.onnx"))
    types = json.loads((tiny / "config.json").read_text())["model_type"] == "bert"
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if types else [])]
    assert [value.name for value in model.graph.input] == names
    assert {value.type.tensor_type.elem_type for value in model.graph.input} == {onnx.TensorProto.INT64}
    assert [value.name for value in model.graph.output] == ["logits"]
    assert sorted(file.name for file in exported.iterdir()) == [
        "bge_cpu.json",
        "config.json",
        "model.onnx",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    with safe_open(exported / "model.safetensors", framework="numpy") as tensors:
        external = {tensor.name for tensor in model.graph.initializer if tensor.external_data}
        assert external == set(tensors.keys())


def test_types_follow_the_tokenizer_not_the_architecture(tmp_path: Path) -> None:
    source = checkpoints.make(tmp_path / "source", "bert")
    tokenizer = json.loads((source / "tokenizer.json").read_text())
    for part in tokenizer["post_processor"]["pair"]:
        next(iter(part.values()))["type_id"] = 0
    (source / "tokenizer.json").write_text(json.dumps(tokenizer))
    out = export(source, tmp_path / "out", mode="onnx")
    assert json.loads((out / "bge_cpu.json").read_text())["inputs"] == ["input_ids", "attention_mask"]
    assert snippet(out, PAIRS) == pytest.approx(Reranker.load(source, mode="onnx").score(PAIRS), abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_written_as_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    source = checkpoints.make(tmp_path / "source", "xlm-roberta", dtype=dtype)
    out = export(source, tmp_path / "out", mode="onnx")
    expected = Reranker.load(source, mode="onnx").score(PAIRS)
    assert Reranker.load(out, mode="onnx").score(PAIRS) == expected
    assert snippet(out, PAIRS) == pytest.approx(expected, abs=1e-4)


def test_a_lone_pair_as_long_as_the_model_takes(tmp_path: Path) -> None:
    source = checkpoints.make(tmp_path / "source", "bert", positions=64)
    out = export(source, tmp_path / "out", mode="onnx")
    session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    ids = np.full((2, 64), 7, dtype=np.int64)
    mask = np.ones_like(ids)
    mask[1, 32:] = 0
    both = session.run(["logits"], {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0})[0]
    assert both.shape == (2, 1)
    assert both.dtype == np.float32
    one = {"input_ids": ids[1:, :32], "attention_mask": mask[1:, :32], "token_type_ids": ids[1:, :32] * 0}
    assert session.run(["logits"], one)[0] == pytest.approx(both[1:], abs=1e-5)


def test_the_checkpoints_own_tokenizer_config_is_kept(tiny_xlmr: Path, tmp_path: Path) -> None:
    source = shutil.copytree(tiny_xlmr, tmp_path / "source")
    content = '{"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "</s>"}'
    (source / "tokenizer_config.json").write_text(content)
    out = export(source, tmp_path / "out", mode="onnx")
    assert (out / "tokenizer_config.json").read_text() == content
    assert snippet(out, PAIRS) == pytest.approx(Reranker.load(source, mode="onnx").score(PAIRS), abs=1e-4)


def test_links_are_followed(tiny_xlmr: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for file in tiny_xlmr.iterdir():  # as the Hub's cache does it
        (source / file.name).symlink_to(file)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    out = export(source, tmp_path / "link", mode="onnx")
    assert out == tmp_path / "real"
    assert not any(file.is_symlink() for file in out.iterdir())
    assert len(snippet(tmp_path / "link", PAIRS)) == len(PAIRS)


def test_what_is_there_is_not_touched(tiny_xlmr: Path, tmp_path: Path) -> None:
    full, file, empty = (tmp_path / name for name in ("full", "file", "empty"))
    full.mkdir()
    empty.mkdir()
    (full / "mine").write_text("mine")
    file.write_text("mine")
    for out in (full, file, file / "below", "", 3):
        with pytest.raises(InputError):
            export(tiny_xlmr, out, mode="onnx")  # type: ignore[arg-type]
    assert (full / "mine").read_text() == file.read_text() == "mine"
    assert export(tiny_xlmr, empty, mode="onnx") == empty
    with pytest.raises(InputError, match="not an empty folder"):
        export(tiny_xlmr, empty, mode="onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "full"]


def test_other_modes_and_exported_folders_are_refused(tiny_xlmr: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mode of an export is one of onnx, onnx-int8, not 'fp32'"):
        export(tiny_xlmr, tmp_path / "out", mode="fp32")
    out = export(tiny_xlmr, tmp_path / "out", mode="onnx")
    with pytest.raises(InputError, match="itself an exported folder"):
        export(out, tmp_path / "again", mode="onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_checkpoint_that_cannot_run_leaves_nothing(tiny_xlmr: Path, tmp_path: Path) -> None:
    source = shutil.copytree(tiny_xlmr, tmp_path / "source")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 4}))
    with pytest.raises(CheckpointError, match="lacks the tensor"):
        export(source, tmp_path / "out", mode="onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_progress_is_told_and_an_interruption_leaves_nothing(tiny_xlmr: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    export(tiny_xlmr, tmp_path / "out", mode="onnx", progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(tiny_xlmr, tmp_path / "other", mode="onnx", progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_killed_export_leaves_no_folder_and_the_next_one_works(tiny_xlmr: Path, tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\nfrom bge_cpu.export import export\n"
        "def kill(done, total):\n    if 2 * done > total: os.kill(os.getpid(), signal.SIGKILL)\n"
        "export(sys.argv[1], sys.argv[2], mode='onnx', progress=kill)"
    )
    done = subprocess.run([sys.executable, "-c", script, tiny_xlmr, tmp_path / "out"], timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    assert len(snippet(export(tiny_xlmr, tmp_path / "out", mode="onnx"), PAIRS)) == len(PAIRS)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_leaves_nothing(tiny_xlmr: Path, full_disk: Path) -> None:
    with pytest.raises(BgeCpuError, match="out cannot be written: No space left on device"):
        export(tiny_xlmr, full_disk / "out", mode="onnx")
    assert list(full_disk.iterdir()) == []
    with pytest.raises(InputError, match="is a mount point"):
        export(tiny_xlmr, full_disk, mode="onnx")


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX limits")
def test_a_write_error_leaves_nothing(tiny_xlmr: Path, tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys\nfrom bge_cpu.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "main(['export', *sys.argv[1:], '--mode', 'onnx'])"
    )
    command = [sys.executable, "-c", script, tiny_xlmr, tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path / 'out'} cannot be written: File too large\nhint: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"format": 1}', "is damaged: KeyError 'mode'"),
        ("\ud800", "is damaged"),
        ('{"format": 2, "mode": "onnx"}', "has format 2 and mode 'onnx'"),
        ('{"format": 1, "mode": "int3"}', "has format 1 and mode 'int3'"),
    ],
)
def test_a_damaged_record_is_refused(tmp_path: Path, content: str, message: str) -> None:
    assert recorded_mode(tmp_path) is None
    (tmp_path / "bge_cpu.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(CheckpointError, match=message):
        recorded_mode(tmp_path)


def test_the_mode_is_recorded(tiny_xlmr: Path, exported: Path) -> None:
    assert recorded_mode(tiny_xlmr) is None
    assert recorded_mode(exported) == "onnx"


def test_command_line(tiny_xlmr: Path, tmp_path: Path) -> None:
    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*COMMAND, "export", *arguments], capture_output=True, text=True, timeout=120)

    out = tmp_path / "new" / "out"
    done = run(tiny_xlmr, out, "--mode", "onnx")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{out}\n", "")
    assert recorded_mode(out) == "onnx"
    for arguments, code, message in [
        ((tiny_xlmr, out, "--mode", "onnx"), 2, "is not an empty folder\nhint: "),
        ((tiny_xlmr, tmp_path / "b", "--mode", "int4"), 2, "error: mode of an export is one of onnx, onnx-int8"),
        ((tiny_xlmr, tmp_path / "b"), 2, "Missing option"),
        ((tiny_xlmr, tmp_path / "b", "--mode", "onnx", "--revision", "v1"), 2, "error: revision='v1' is for Hub ids"),
        ((tmp_path, tmp_path / "b", "--mode", "onnx"), 1, "error: "),
        (("no/body", tmp_path / "b", "--mode", "onnx", "--local-files-only"), 1, "is not in the Hub's cache"),
    ]:
        done = run(*arguments)
        assert done.returncode == code, done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    options = ("--cache-dir", tmp_path / "cache", "--min-fidelity", "none")
    done = run(tiny_xlmr, tmp_path / "int8", "--mode", "onnx-int8", *options)
    assert done.returncode == 0, done.stderr
    assert recorded_mode(tmp_path / "int8") == "onnx-int8"


def own_graph(out: Path) -> Reranker:
    """Our own graph over an exported folder's INT8 tensors."""
    engine = onnx_int8.from_file(open_checkpoint(out), out / TENSORS, threads=1)
    return Reranker(PairTokenizer.load(out / "tokenizer.json"), engine)


def test_int8_tensors_serve_both_graphs(tiny: Path, tmp_path: Path) -> None:
    out = export(tiny, tmp_path / "out", mode="onnx-int8", cache_dir=tmp_path / "cache", min_fidelity=None)
    shutil.rmtree(tmp_path / "cache")
    assert recorded_mode(out) == "onnx-int8"
    assert check(out) is None
    source = Reranker.load(tiny, mode="onnx-int8", cache_dir=tmp_path / "cache", min_fidelity=None)
    expected = source.score(PAIRS)
    assert own_graph(out).score(PAIRS) == expected
    # The two graphs add up in another order, and a last bit can be another INT8 code.
    tolerance = 0.03 * np.ptp(expected)
    for side in ("right", "left"):
        assert snippet(out, PAIRS, side=side) == pytest.approx(expected, abs=tolerance)


def test_int8_that_fails_the_gate_is_not_exported(tiny_xlmr: Path, tmp_path: Path) -> None:
    with pytest.raises(FidelityError):
        export(tiny_xlmr, tmp_path / "out", mode="onnx-int8", cache_dir=tmp_path / "cache", min_fidelity=1.0)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@pytest.mark.model
def test_trained_checkpoint_in_int8(mini: Path, real_pairs: list[tuple[str, str]], tmp_path: Path) -> None:
    pairs = [(query, document[:300]) for query, document in real_pairs[::6]]
    out = export(mini, tmp_path / "out", mode="onnx-int8", cache_dir=tmp_path / "cache")
    assert (out / "fidelity.json").is_file()
    expected = Reranker.load(mini, mode="onnx-int8", cache_dir=tmp_path / "cache").score(pairs)
    assert own_graph(out).score(pairs) == expected
    assert snippet(out, pairs) == pytest.approx(expected, abs=0.03 * np.ptp(expected))


@pytest.mark.model
def test_trained_checkpoint(mini: Path, real_pairs: list[tuple[str, str]], tmp_path: Path) -> None:
    pairs = [(query, document[:300]) for query, document in real_pairs[::6]]
    out = export(mini, tmp_path / "out", mode="onnx")
    expected = Reranker.load(mini, mode="onnx").score(pairs)
    assert Reranker.load(out, mode="onnx").score(pairs) == expected
    for side in ("right", "left"):
        assert snippet(out, pairs, side=side) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("mode", ["onnx", "onnx-int8"])
def test_an_exported_folder_runs_in_its_mode_and_no_other(tiny_xlmr: Path, tmp_path: Path, mode: str) -> None:
    pairs = [("panda", "a bear"), ("panda", "竹子")]
    source = Reranker.load(tiny_xlmr, mode=mode, min_fidelity=None)
    out = export(tiny_xlmr, tmp_path / "out", mode=mode, min_fidelity=None)
    assert Reranker.load(out, min_fidelity=None).score(pairs) == source.score(pairs)
    assert Reranker.load(out, mode=mode, min_fidelity=None).score(pairs) == source.score(pairs)
    with pytest.raises(InputError, match=f"was exported for mode '{mode}', not 'fp32'"):
        Reranker.load(out, mode="fp32")


def test_a_damaged_int8_export_is_refused(tiny_xlmr: Path, tmp_path: Path) -> None:
    out = export(tiny_xlmr, tmp_path / "out", mode="onnx-int8", min_fidelity=None)
    content = bytearray((out / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (out / "model.safetensors").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"is damaged \(its hash does not match\)"):
        Reranker.load(out)
