"""The record that an exported folder holds."""

from pathlib import Path

import pytest

from bge_cpu import CheckpointError
from bge_cpu.checkpoint.record import recorded_mode
from bge_cpu.export import export


@pytest.fixture(scope="module")
def exported(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tiny, tmp_path_factory.mktemp("exported") / "out", mode="onnx")


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
