"""`bge-cpu doctor`, as a process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bge_cpu.engines import default_mode
from bge_cpu.export import export
from tests.commands import COMMAND
from tests.core.doctor.looking import REFUSED, look
from tests.machines import linux


def test_an_exported_folder_runs_in_its_mode(tmp_path: Path, tiny_xlmr: Path) -> None:
    out = export(tiny_xlmr, tmp_path / "out", mode="onnx")
    root = linux(tmp_path)
    assert look(root, "onnx", str(out))["model"].meaning == "exported for mode onnx"
    other = look(root, "onnx-int8", str(out))["model"]
    assert (other.status, other.remedy) == ("problem", "--mode onnx")
    done = run("--model", out, "--json", "-")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["mode"] == "onnx"


def run(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    surroundings = os.environ | {"HF_ENDPOINT": REFUSED, "PYTHONIOENCODING": "utf-8"} | environ
    surroundings = {name: value for name, value in surroundings.items() if name != "COLUMNS"}
    command = [*COMMAND, "doctor", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, env=surroundings)


def test_json(tiny_xlmr: Path) -> None:
    done = run("--json", "-", "--model", tiny_xlmr)
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert (answer["mode"], answer["model"], answer["runs"]) == (default_mode(), str(tiny_xlmr), True)
    assert {frozenset(check) for check in answer["checks"]} == {
        frozenset({"name", "status", "found", "meaning", "remedy"})
    }
    assert done.stderr == ""


def test_the_table_fits_80_columns(tiny_xlmr: Path) -> None:
    done = run("--model", tiny_xlmr, "--mode", "onnx")
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(len(line) <= 80 for line in done.stdout.splitlines()[:-1])
    assert "mode onnx runs" in done.stdout.splitlines()[-1]


def test_in_40_columns_a_finding_stands_below_its_name(tiny_xlmr: Path) -> None:
    command = [*COMMAND, "doctor", "--model", str(tiny_xlmr), "--mode", "onnx"]
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", timeout=60, env=os.environ | {"COLUMNS": "40"}
    )
    lines = done.stdout.splitlines()
    assert all(len(line) <= 40 for line in lines)
    assert lines[0] == "CPU  ok"
    names = [line.rpartition("  ")[0] for line in lines if line.endswith(("  ok", "  warning"))]
    assert names[:4] == ["CPU", "INT8", "native kernels", "bf16"]
    assert lines[1].startswith("  ") and len(lines[1].strip()) > 4


@pytest.mark.slow
def test_a_model_not_cached_and_no_hub(tmp_path: Path) -> None:
    done = run("--json", "-", "--mode", "onnx", HF_HUB_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["model"]["status"] == checks["Hub"]["status"] == "warning"
    assert str(tmp_path) in checks["Hub"]["remedy"]
    offline = run("--mode", "onnx", HF_HUB_CACHE=str(tmp_path), HF_HUB_OFFLINE="1")
    assert offline.returncode == 0
    assert "HF_HUB_OFFLINE is set" in offline.stdout


def test_missing_torch_ends_with_1(tiny_xlmr: Path) -> None:
    hide = (
        "import sys; from importlib import metadata; found = metadata.Distribution.from_name\n"
        "def from_name(name):\n"
        "    if name == 'torch': raise metadata.PackageNotFoundError(name)\n"
        "    return found(name)\n"
        "metadata.Distribution.from_name = from_name\n"
        "from bge_cpu.cli import main; main()"
    )
    command = [sys.executable, "-c", hide, "doctor", "--model", str(tiny_xlmr), "--mode"]
    environ = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([*command, "fp32"], capture_output=True, encoding="utf-8", env=environ, timeout=60)
    assert done.returncode == 1, done.stderr
    assert "pip install 'bge-cpu[torch]'" in done.stdout
    assert "mode fp32 cannot run" in done.stdout
    done = subprocess.run([*command, "onnx"], capture_output=True, encoding="utf-8", env=environ, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_cache_that_was_named_is_looked_at(tiny_xlmr: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run("--json", "-", "--model", tiny_xlmr, "--mode", "onnx-int8", "--cache-dir", tmp_path / "file/cache")
    assert done.returncode == 0, done.stderr
    (check,) = (check for check in json.loads(done.stdout)["checks"] if check["name"] == "INT8 cache")
    assert check["status"] == "warning"
    assert check["found"].startswith(f"{tmp_path}/file/cache cannot be written")


@pytest.mark.slow
def test_exit_codes(tmp_path: Path) -> None:
    assert run("--model", tmp_path).returncode == 1
    wrong = run("--mode", "int4")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: mode is one of")
    assert wrong.stdout == ""
