"""Tensors from safetensors files, as views of them; and back into one."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from bge_cpu import ArtifactError, CheckpointError
from bge_cpu.checkpoint.weights import Weights, write_safetensors


def test_a_header_that_outgrows_its_place_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"takes .* bytes"):
        write_safetensors(tmp_path / "a", [("n" * 10_000, np.zeros(1, np.float32))], count=1)


@pytest.fixture
def folder(tiny_xlmr: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(tiny_xlmr, tmp_path / "copy"))


def test_float32_weights_are_views_of_the_file(folder: Path) -> None:
    weights = Weights([folder / "model.safetensors"])
    name = "roberta.embeddings.word_embeddings.weight"
    assert not weights[name].flags.owndata
    assert not weights[name].flags.writeable
    assert np.array_equal(weights[name], load_file(folder / "model.safetensors")[name])
    assert len(weights) == len(list(weights))


def test_tensors_at_odd_offsets_are_read(tmp_path: Path) -> None:
    values = np.arange(3, dtype=np.float32)
    header = json.dumps(
        {
            "odd": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
            "values": {"dtype": "F32", "shape": [3], "data_offsets": [1, 13]},
        }
    ).encode()
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" + values.tobytes())
    weights = Weights([tmp_path / "a.safetensors"])
    assert weights["values"].tolist() == [0, 1, 2]
    with pytest.raises(CheckpointError, match="stored as U8"):
        weights["odd"]
