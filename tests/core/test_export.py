"""`export`: what it writes, what it refuses, and that it leaves nothing half-made; without transformers."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from safetensors import safe_open

from bge_cpu import ArtifactError, BgeCpuError, CheckpointError, FidelityError, InputError, Reranker
from bge_cpu.export import export
from tests import checkpoints


@pytest.fixture(scope="module")
def exported(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tiny, tmp_path_factory.mktemp("exported") / "out", mode="onnx")


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
    with pytest.raises(InputError, match="mode of an export is one of onnx, onnx-int8, native-int8, not 'fp32'"):
        export(tiny_xlmr, tmp_path / "out", mode="fp32")
    for arguments in ({"out": "a" * 10_000}, {"out": ["a" * 10_000]}, {"mode": "a" * 10_000}):
        with pytest.raises(InputError) as caught:
            export(**{"model": tiny_xlmr, "out": tmp_path / "out", "mode": "onnx"} | arguments)  # type: ignore[arg-type]
        assert len(str(caught.value)) < 400
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


def test_int8_that_fails_the_gate_is_not_exported(tiny_xlmr: Path, tmp_path: Path) -> None:
    with pytest.raises(FidelityError):
        export(tiny_xlmr, tmp_path / "out", mode="onnx-int8", cache_dir=tmp_path / "cache", min_fidelity=1.0)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


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
