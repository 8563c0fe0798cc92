"""The doctor's judgement of model, cache and Hub."""

from pathlib import Path

from bge_cpu.doctor.places import artifact_cache
from bge_cpu.machine.cpu import available_cpus
from tests.core.doctor.looking import REFUSED, V2_M3, look
from tests.machines import linux


def test_a_folder_that_is_no_checkpoint_is_a_problem(tmp_path: Path) -> None:
    checks = look(linux(tmp_path), model=str(tmp_path))
    assert checks["model"].status == "problem"
    assert "config.json" in checks["model"].found
    assert look(tmp_path, model=str(tmp_path / "nowhere"))["model"].status == "problem"


def test_thread_settings(tmp_path: Path) -> None:
    root, two = linux(tmp_path), available_cpus() > 1
    check = look(root, environ={"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"})["threads set"]
    assert check.found == "OMP_NUM_THREADS=1, TOKENIZERS_PARALLELISM=false"
    assert check.status == "ok"
    assert not two or check.meaning.startswith("bge-cpu follows OMP_NUM_THREADS and uses 1 of")
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
    root = linux(tmp_path)
    silent = look(root, offline=False, model="nobody/nothing")
    assert silent["Hub"].status == silent["model"].status == "warning"
    assert f"{REFUSED} does not answer (Connection refused)" in silent["Hub"].found
    offline = look(root, model="nobody/nothing")["Hub"]
    assert "HF_HUB_OFFLINE is set" in offline.found
    assert "hf download" in offline.remedy
    unneeded = look(root, offline=False, model=str(tiny_xlmr))["Hub"]
    assert (unneeded.status, unneeded.meaning) == ("ok", "not needed")
