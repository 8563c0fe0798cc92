"""`bge-cpu cache`: what lies there, and what is removed."""

import json
import subprocess
from pathlib import Path

import pytest

from bge_cpu import Reranker
from bge_cpu.quantization.artifacts import artifacts
from tests.commands import COMMAND


@pytest.mark.slow
def test_cache_list_and_prune(tiny_xlmr: Path, tmp_path: Path) -> None:
    Reranker.load(tiny_xlmr, mode="onnx-int8", cache_dir=tmp_path, min_fidelity=None)
    (tmp_path / ".left.abc").mkdir()
    command = [*COMMAND, "cache"]

    def run(*arguments: str) -> str:
        done = subprocess.run([*command, *arguments, "--cache-dir", str(tmp_path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = run("list")
    assert "onnx-int8" in listed
    assert "whole" in listed
    assert "removed .left.abc" in run("prune")
    ((folder, _),) = artifacts(tmp_path)
    assert json.loads((folder / "manifest.json").read_text())["mode"] == "onnx-int8"
    assert "removed" in run("prune", "--all")
    assert artifacts(tmp_path) == []
