"""The doctor's judgement of CPUs, memory and software as kernels and pip describe them; the command as a process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bge_cpu.doctor import Check, examine
from bge_cpu.doctor.places import artifact_cache
from bge_cpu.engines import DEFAULT_MODE, MODES
from bge_cpu.export import export
from bge_cpu.machine.memory import Memory, memory

COMMAND = [sys.executable, "-c", "from bge_cpu.cli import main; main()"]
REFUSED = "http://127.0.0.1:9"  # nothing listens on the discard port
V2_M3 = "BAAI/bge-reranker-v2-m3"
GIB = 1 << 30
MEMINFO = "MemTotal: {total} kB\nMemFree: 1 kB\nMemAvailable: {available} kB\n"
BASE = {
    "bge-cpu": "0.1.0",
    "onnxruntime": "1.32.0",
    "onnx": "1.23.2",
    "tokenizers": "0.23.3",
    "safetensors": "0.8.0",
    "huggingface_hub": "2.4.0",
}
TORCH = {"torch": "2.13.0", "transformers": "5.23.0"}
CLASH = {"torch": "2.13.0", "transformers": "4.57.1", "tensorflow": "2.19.0", "keras": "3.9.2"}
VNNI = "flags\t: fpu sse2 avx2 avx512f avx512_vnni\n"
AVX2 = "flags\t\t: fpu sse2 fma avx2\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp sve i8mm bf16\n"


def tree(root: Path, cpuinfo: str = VNNI, gb: float = 16, **files: str) -> Path:
    """A root with /proc and /sys as the kernel lays them out."""
    meminfo = MEMINFO.format(total=int(gb * 1e6 / 1.024), available=int(gb * 1e6 / 1.024))
    content = {"proc/cpuinfo": cpuinfo, "proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n"} | files
    for name, text in content.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def look(
    root: Path,
    mode: str = "onnx-int8",
    model: str = V2_M3,
    *,
    environ: dict[str, str] | None = None,
    versions: dict[str, str] | None = None,
    machine: str = "x86_64",
    offline: bool = True,
) -> dict[str, Check]:
    checks = examine(
        mode,
        model,
        environ=environ or {},
        cache=root / "cache",
        root=root,
        machine=machine,
        versions=BASE | TORCH if versions is None else versions,
        endpoint=REFUSED,
        offline=offline,
    )
    assert len({check.name for check in checks}) == len(checks)
    assert all(check.remedy for check in checks if check.status == "problem")
    return {check.name: check for check in checks}


@pytest.mark.parametrize("mode", MODES)
def test_a_good_machine_runs_every_mode(tmp_path: Path, tiny_xlmr: Path, mode: str) -> None:
    cpuinfo = VNNI.replace("avx512_vnni", "avx512_vnni avx512_bf16")
    checks = look(tree(tmp_path, cpuinfo), mode, str(tiny_xlmr))
    assert {name: check.status for name, check in checks.items() if check.status != "ok"} == {}


@pytest.mark.parametrize(
    ("cpuinfo", "machine", "found"),
    [
        (VNNI, "x86_64", "products are exact"),
        (AVX2.replace("avx2", "avx2 avx_vnni"), "x86_64", "products are exact"),
        (VNNI.replace("avx512_vnni", "amx_int8"), "x86_64", "products are exact"),
        (ARM, "aarch64", "products are exact"),
        (AVX2, "x86_64", "products saturate: no VNNI, no AMX"),
    ],
)
def test_int8_arithmetic(tmp_path: Path, cpuinfo: str, machine: str, found: str) -> None:
    check = look(tree(tmp_path, cpuinfo), machine=machine)["INT8"]
    assert check.found == found
    assert check.status == ("warning" if "saturate" in found else "ok")
    assert ("reduced range" in check.meaning) == ("saturate" in found)


def test_saturation_is_no_matter_to_a_float_mode(tmp_path: Path) -> None:
    assert look(tree(tmp_path, AVX2), "onnx")["INT8"].status == "ok"


@pytest.mark.parametrize(
    ("cpuinfo", "machine", "status", "meaning"),
    [
        (VNNI, "x86_64", "ok", "made for"),
        (ARM, "aarch64", "warning", "not tested on arm64"),
        ("", "arm64", "warning", "not tested on arm64"),
        (AVX2.replace("avx2", ""), "x86_64", "warning", "without AVX2"),
        ("", "AMD64", "warning", "does not tell"),
    ],
)
def test_processor(tmp_path: Path, cpuinfo: str, machine: str, status: str, meaning: str) -> None:
    check = look(tree(tmp_path, cpuinfo), machine=machine)["CPU"]
    assert check.status == status
    assert meaning in check.meaning


@pytest.mark.parametrize(
    ("flag", "mode", "status"),
    [("avx512_bf16", "bf16", "ok"), ("amx_bf16", "bf16", "ok"), ("", "bf16", "problem"), ("", "onnx", "ok")],
)
def test_bf16(tmp_path: Path, flag: str, mode: str, status: str) -> None:
    check = look(tree(tmp_path, VNNI.replace("avx2", f"avx2 {flag}")), mode)["bf16"]
    assert check.status == status
    assert ("refused" in check.meaning) == (not flag)


def test_a_quota_of_less_than_the_threads_is_told(tmp_path: Path) -> None:
    quota = {"sys/fs/cgroup/cpu.max": "50000 100000\n"}
    check = look(tree(tmp_path, **quota))["cores"]
    assert check.status == "warning"
    assert "cgroup quota 0.5" in check.found
    assert "threads=1" in check.meaning


V2 = {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n"}
V1 = {"proc/self/cgroup": "4:memory:/job\n2:cpu:/\n0::/\n"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, Memory(8 * GIB, 6 * GIB, False)),
        (V2, Memory(8 * GIB, 6 * GIB, False)),
        (V2 | {"sys/fs/cgroup/a/memory.max": f"{2 * GIB}\n"}, Memory(2 * GIB, 2 * GIB, True)),
        (
            V2
            | {
                "sys/fs/cgroup/a/memory.max": f"{4 * GIB}\n",
                "sys/fs/cgroup/a/memory.current": f"{3 * GIB}\n",
                "sys/fs/cgroup/a/memory.stat": f"anon 5\ninactive_file {GIB}\n",
            },
            Memory(4 * GIB, 2 * GIB, True),
        ),
        (
            V1
            | {
                "sys/fs/cgroup/memory/job/memory.limit_in_bytes": f"{2 * GIB}\n",
                "sys/fs/cgroup/memory/job/memory.usage_in_bytes": f"{GIB}\n",
                "sys/fs/cgroup/memory/job/memory.stat": f"inactive_file 7\ntotal_inactive_file {GIB // 2}\n",
            },
            Memory(2 * GIB, 3 * GIB // 2, True),
        ),
        (V1 | {"sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GIB}\n"}, Memory(GIB, GIB, True)),
        (
            V1 | {"sys/fs/cgroup/memory/job/memory.limit_in_bytes": "9223372036854771712\n"},
            Memory(8 * GIB, 6 * GIB, False),
        ),
        ({"proc/meminfo": "nonsense\n"}, None),
    ],
)
def test_memory_and_its_limits(tmp_path: Path, files: dict[str, str], expected: Memory | None) -> None:
    meminfo = MEMINFO.format(total=8 * GIB // 1024, available=6 * GIB // 1024)
    assert memory(tree(tmp_path, **({"proc/meminfo": meminfo} | files))) == expected


@pytest.mark.parametrize(
    ("gb", "mode", "model", "status", "told"),
    [
        (8, "fp32", V2_M3, "ok", "onnx 1.8"),
        (2, "fp32", V2_M3, "problem", "free or add memory, or use mode onnx-int8"),
        (2, "fp32", "./small", "warning", "not enough for fp32"),
        (0.5, "onnx-int8", V2_M3, "problem", "not enough for onnx-int8"),
        (1.5, "onnx-int8", V2_M3, "warning", "not to build and check its artifact"),
        (2, "onnx", V2_M3, "ok", ""),
    ],
)
def test_little_memory(tmp_path: Path, gb: float, mode: str, model: str, status: str, told: str) -> None:
    check = look(tree(tmp_path, gb=gb), mode, model)["memory"]
    assert check.status == status, check
    assert told in f"{check.meaning} {check.remedy}"


def test_memory_that_others_hold_is_a_warning(tmp_path: Path) -> None:
    meminfo = MEMINFO.format(total=16_000_000, available=500_000)
    check = look(tree(tmp_path, **{"proc/meminfo": meminfo}))["memory"]
    assert check.status == "warning"
    assert check.found == "0.5 of 16.4 GB available"


def test_an_artifact_that_is_built_needs_no_memory_for_building(tmp_path: Path) -> None:
    manifest = {"cache/a-onnx-int8-0/manifest.json": json.dumps({"mode": "onnx-int8", "model": V2_M3})}
    checks = look(tree(tmp_path, gb=1.5, **manifest))
    assert checks["memory"].status == "ok"
    assert checks["INT8 cache"].meaning == "the INT8 artifact is built"


@pytest.mark.parametrize(("mode", "status"), [("fp32", "problem"), ("bf16", "problem"), ("onnx", "ok")])
def test_missing_torch(tmp_path: Path, mode: str, status: str) -> None:
    check = look(tree(tmp_path), mode, versions=BASE)["PyTorch"]
    assert check.status == status
    assert check.found == "torch not installed, transformers not installed"
    assert check.remedy == "pip install 'bge-cpu[torch]'"


def test_missing_base_package(tmp_path: Path) -> None:
    versions = {name: version for name, version in BASE.items() if name != "onnx"}
    check = look(tree(tmp_path), versions=versions)["packages"]
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
    check = look(tree(tmp_path), "fp32", versions=BASE | versions, environ=environ)["Keras"]
    assert check.status == status
    if status != "ok":
        assert "keras 3.9.2, no tf-keras" in check.found
        assert "USE_TF" in check.meaning
        assert "pip install tf-keras" in check.remedy
    assert look(tmp_path, "onnx", versions=BASE | versions, environ=environ)["Keras"].status == "ok"


def test_a_folder_that_is_no_checkpoint_is_a_problem(tmp_path: Path) -> None:
    checks = look(tree(tmp_path), model=str(tmp_path))
    assert checks["model"].status == "problem"
    assert "config.json" in checks["model"].found
    assert look(tmp_path, model=str(tmp_path / "nowhere"))["model"].status == "problem"


def test_an_exported_folder_runs_in_its_mode(tmp_path: Path, tiny_xlmr: Path) -> None:
    out = export(tiny_xlmr, tmp_path / "out", mode="onnx")
    root = tree(tmp_path)
    assert look(root, "onnx", str(out))["model"].meaning == "exported for mode onnx"
    other = look(root, "onnx-int8", str(out))["model"]
    assert (other.status, other.remedy) == ("problem", "--mode onnx")
    done = run("--model", out, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["mode"] == "onnx"


def test_thread_settings(tmp_path: Path) -> None:
    root, two = tree(tmp_path), len(os.sched_getaffinity(0)) > 1 if hasattr(os, "sched_getaffinity") else True
    check = look(root, environ={"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"})["threads set"]
    assert check.found == "OMP_NUM_THREADS=1, TOKENIZERS_PARALLELISM=false"
    assert check.status == ("warning" if two else "ok")
    assert not two or check.remedy.startswith("--threads 1")
    assert "one CPU" in look(root, environ={"TOKENIZERS_PARALLELISM": "false"})["threads set"].meaning
    assert look(root, environ={"OMP_NUM_THREADS": "4,2"})["threads set"].status == "ok"


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (Path("/proc/bge-cpu"), tmp_path / "file/bge-cpu"):
        check = artifact_cache("onnx-int8", V2_M3, place, built=False)
        assert check.status == "warning"
        assert "cannot be written" in check.found
        assert "each start builds" in check.meaning
        assert artifact_cache("onnx-int8", V2_M3, place, built=True).status == "ok"
        assert artifact_cache("onnx", V2_M3, place, built=False).status == "ok"
    assert artifact_cache("onnx-int8", V2_M3, None, built=False).status == "warning"


def test_looking_leaves_nothing_behind(tmp_path: Path) -> None:
    check = artifact_cache("onnx-int8", V2_M3, tmp_path / "deep/cache", built=False)
    assert check.status == "ok"
    assert "GB free" in check.found
    assert list(tmp_path.iterdir()) == []


def test_the_hub_never_fails_the_run(tmp_path: Path, tiny_xlmr: Path) -> None:
    root = tree(tmp_path)
    silent = look(root, offline=False, model="nobody/nothing")
    assert silent["Hub"].status == silent["model"].status == "warning"
    assert f"{REFUSED} does not answer (Connection refused)" in silent["Hub"].found
    offline = look(root, model="nobody/nothing")["Hub"]
    assert "HF_HUB_OFFLINE is set" in offline.found
    assert "hf download" in offline.remedy
    unneeded = look(root, offline=False, model=str(tiny_xlmr))["Hub"]
    assert (unneeded.status, unneeded.meaning) == ("ok", "not needed")


def run(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    surroundings = os.environ | {"HF_ENDPOINT": REFUSED, "PYTHONIOENCODING": "utf-8"} | environ
    surroundings = {name: value for name, value in surroundings.items() if name != "COLUMNS"}
    command = [*COMMAND, "doctor", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, env=surroundings)


def test_json(tiny_xlmr: Path) -> None:
    done = run("--json", "--model", tiny_xlmr)
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert (answer["mode"], answer["model"], answer["runs"]) == (DEFAULT_MODE, str(tiny_xlmr), True)
    assert {frozenset(check) for check in answer["checks"]} == {
        frozenset({"name", "status", "found", "meaning", "remedy"})
    }
    assert done.stderr == ""


def test_the_table_fits_80_columns(tiny_xlmr: Path) -> None:
    done = run("--model", tiny_xlmr, "--mode", "onnx")
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(len(line) <= 80 for line in done.stdout.splitlines()[:-1])
    assert "mode onnx runs" in done.stdout.splitlines()[-1]


def test_a_model_not_cached_and_no_hub(tmp_path: Path) -> None:
    done = run("--json", "--mode", "onnx", HF_HUB_CACHE=str(tmp_path))
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
    done = run("--json", "--model", tiny_xlmr, "--mode", "onnx-int8", "--cache-dir", tmp_path / "file/cache")
    assert done.returncode == 0, done.stderr
    (check,) = (check for check in json.loads(done.stdout)["checks"] if check["name"] == "INT8 cache")
    assert check["status"] == "warning"
    assert check["found"].startswith(f"{tmp_path}/file/cache cannot be written")


def test_exit_codes(tmp_path: Path) -> None:
    assert run("--model", tmp_path).returncode == 1
    wrong = run("--mode", "int4")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: mode is one of")
    assert wrong.stdout == ""


def test_no_framework_is_imported() -> None:
    script = (
        "import sys; from pathlib import Path; from bge_cpu.doctor import examine\n"
        "examine('fp32', 'mini', environ={}, cache=None, offline=True)\n"
        "print([name for name in ('torch', 'transformers', 'tensorflow', 'keras', 'onnx', 'onnxruntime')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
