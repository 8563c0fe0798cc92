"""The doctor's judgement of installed packages, as pip describes them."""

from pathlib import Path

import pytest

from tests.core.doctor.looking import BASE, TORCH, look
from tests.machines import linux

CLASH = {"torch": "2.13.0", "transformers": "4.57.1", "tensorflow": "2.19.0", "keras": "3.9.2"}


@pytest.mark.parametrize(("mode", "status"), [("fp32", "problem"), ("bf16", "problem"), ("onnx", "ok")])
def test_missing_torch(tmp_path: Path, mode: str, status: str) -> None:
    check = look(linux(tmp_path), mode, versions=BASE)["PyTorch"]
    assert check.status == status
    assert check.found == "torch not installed, transformers not installed"
    assert check.remedy == "pip install 'bge-cpu[torch]'"


def test_missing_base_package(tmp_path: Path) -> None:
    versions = {name: version for name, version in BASE.items() if name != "onnx"}
    check = look(linux(tmp_path), versions=versions)["packages"]
    assert check.status == "problem"
    assert check.remedy == "pip install onnx"


@pytest.mark.parametrize(
    ("versions", "environ", "status"),
    [
        (CLASH, {}, "warning"),
        (CLASH, {"USE_TF": "0"}, "warning"),
        (CLASH, {"USE_TF": "1"}, "problem"),
        (CLASH, {"USE_TF": "auto"}, "problem"),
        (CLASH, {"USE_TF": "1", "USE_TORCH": "1"}, "warning"),
        (CLASH | {"tf-keras": "2.19.0"}, {"USE_TF": "1"}, "ok"),
        (CLASH | {"keras": "2.15.0"}, {}, "ok"),
        (CLASH | {"transformers": "5.23.0"}, {}, "ok"),
        (TORCH, {}, "ok"),
        ({}, {}, "ok"),
    ],
)
def test_keras_clash(tmp_path: Path, versions: dict[str, str], environ: dict[str, str], status: str) -> None:
    check = look(linux(tmp_path), "fp32", versions=BASE | versions, environ=environ)["Keras"]
    assert check.status == status
    if status != "ok":
        assert "keras 3.9.2, no tf-keras" in check.found
        assert "USE_TF" in check.meaning
        assert "pip install tf-keras" in check.remedy
    assert look(tmp_path, "onnx", versions=BASE | versions, environ=environ)["Keras"].status == "ok"
