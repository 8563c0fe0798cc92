"""The gate's figures: measured once, by one process, kept where they can be, and believed only if they are ours."""

import json
import shutil
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
from filelock import FileLock

from bge_cpu import ArtifactError, Reranker
from bge_cpu.export import export
from bge_cpu.quantization import cache, fidelity
from bge_cpu.quantization.cache import artifacts
from tests.core.quantization.test_artifacts import mount

MEASURE = """
import sys
from bge_cpu import Reranker
from bge_cpu.machine import children
ask = children.ask
def counted(*arguments):
    with open(sys.argv[3], "a") as stream: stream.write("measured\\n")
    return ask(*arguments)
children.ask = counted
Reranker.load(sys.argv[1], mode="onnx-int8", cache_dir=sys.argv[2], min_fidelity=0.0)
"""


def load(model: Path, folder: Path, min_fidelity: float | None = 0.0) -> Reranker:
    return Reranker.load(model, mode="onnx-int8", cache_dir=folder, min_fidelity=min_fidelity)


def only_artifact(folder: Path) -> Path:
    ((artifact, _),) = artifacts(folder)
    return artifact


def test_many_first_starts_at_once_measure_once(tiny_xlmr: Path, tmp_path: Path) -> None:
    load(tiny_xlmr, tmp_path / "cache", None)
    command = [sys.executable, "-c", MEASURE, str(tiny_xlmr), str(tmp_path / "cache"), str(tmp_path / "count")]
    starts = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    errors = [start.communicate(timeout=200)[1] for start in starts]
    assert [start.returncode for start in starts] == [0] * 4, errors
    assert (tmp_path / "count").read_text() == "measured\n"


def test_waiting_for_a_lock_says_so(tiny_xlmr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(tiny_xlmr, tmp_path, None)
    said: list[str] = []
    waiting = threading.Event()

    def warn(message: str) -> None:
        said.append(message)
        waiting.set()

    monkeypatch.setattr(cache, "warn", warn)
    monkeypatch.setattr(fidelity, "warn", warn)
    artifact = only_artifact(tmp_path)
    with FileLock(f"{artifact}.lock"):
        loading = threading.Thread(target=load, args=(tiny_xlmr, tmp_path))
        loading.start()
        assert waiting.wait(100)
        assert fidelity.read(artifact) is None
    loading.join(100)
    assert said == [f"waiting for another process that builds or measures {artifact}"]
    assert fidelity.read(artifact) is not None


@pytest.fixture(scope="module")
def measured(tiny_xlmr: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with an artifact that was measured."""
    folder = tmp_path_factory.mktemp("measured")
    load(tiny_xlmr, folder)
    return folder


@pytest.mark.parametrize(
    "harm", [{"spearman": "0.99"}, {"pairs": 64.0}, {"rmse": None}, {"artifact": "0" * 64}, "[" * 200_000]
)
def test_figures_that_are_none_are_measured_anew(
    tiny_xlmr: Path, measured: Path, tmp_path: Path, harm: dict[str, object] | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(measured, tmp_path / "cache")
    artifact = only_artifact(tmp_path / "cache")
    kept = fidelity.read(artifact)
    assert kept is not None
    file = artifact / "fidelity.json"
    file.write_text(harm if isinstance(harm, str) else json.dumps(json.loads(file.read_text()) | harm))
    assert fidelity.read(artifact) is None
    logits = kept.spearman, kept  # what is measured is not the matter here
    monkeypatch.setattr(fidelity, "compare", lambda *_: logits[1])
    monkeypatch.setattr("bge_cpu.engines.gated._measured_apart", lambda *_: logits)
    load(tiny_xlmr, tmp_path / "cache")
    assert fidelity.read(artifact) == kept


def test_a_read_only_cache_without_figures_measures_and_says_so(
    tiny_xlmr: Path, measured: Path, tmp_path: Path
) -> None:
    place = mount(tmp_path / "cache", "size=64m")
    try:
        shutil.copytree(measured, place, dirs_exist_ok=True)
        (only_artifact(place) / "fidelity.json").unlink()
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        with pytest.warns(
            UserWarning, match=r"cannot be kept \(Read-only file system\); every process will measure it"
        ):
            assert load(tiny_xlmr, place).score([("panda", "a bear")])
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_an_exported_folder_with_damaged_figures_is_refused(tiny_xlmr: Path, measured: Path, tmp_path: Path) -> None:
    out = export(tiny_xlmr, tmp_path / "out", mode="onnx-int8", cache_dir=measured, min_fidelity=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Reranker.load(out, min_fidelity=0.0).score([("panda", "a bear")])
    figures = json.loads((out / "fidelity.json").read_text())
    (out / "fidelity.json").write_text(json.dumps(figures | {"spearman": "1"}))
    with pytest.raises(
        ArtifactError, match=r"fidelity.json is damaged, or another artifact's\nhint: export the folder"
    ):
        Reranker.load(out, min_fidelity=0.0)
