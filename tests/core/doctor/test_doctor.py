"""All checks of the doctor together."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from bge_cpu.engines import MODES
from bge_cpu.quantization.manifest import Manifest
from tests.core.doctor.looking import V2_M3, look
from tests.machines import VNNI, linux


@pytest.mark.parametrize("mode", MODES)
def test_a_good_machine_runs_every_mode(tmp_path: Path, tiny_xlmr: Path, mode: str) -> None:
    cpuinfo = VNNI.replace("avx512_vnni", "avx512_vnni avx512_bf16")
    checks = look(linux(tmp_path, cpuinfo), mode, str(tiny_xlmr))
    assert {name: check.status for name, check in checks.items() if check.status != "ok"} == {}


def test_an_artifact_that_is_built_needs_no_memory_for_building(tmp_path: Path) -> None:
    manifest = Manifest(V2_M3, "onnx-int8", 1, "exact", checkpoint="", weights={}, size=0, sha256="")
    files = {f"cache/{manifest.folder}/manifest.json": json.dumps(asdict(manifest))}
    checks = look(linux(tmp_path, gb=1.5, files=files))
    assert checks["memory"].status == "ok"
    assert checks["INT8 cache"].meaning == "the INT8 artifact is built"


def test_no_framework_is_imported() -> None:
    script = (
        "import sys; from pathlib import Path; from bge_cpu.doctor import examine\n"
        "examine('fp32', 'mini', environ={}, cache=None, offline=True)\n"
        "print([name for name in ('torch', 'transformers', 'tensorflow', 'keras', 'onnx', 'onnxruntime')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
