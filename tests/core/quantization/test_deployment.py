"""An artifact goes with what a checkpoint holds, not with where it lies, and serves all who may read it."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from bge_cpu import ArtifactError, CheckpointError, InputError, Reranker
from bge_cpu.checkpoint import open_checkpoint
from bge_cpu.engines.onnx_int8 import recipe
from bge_cpu.quantization import artifacts, hashes
from bge_cpu.quantization.cache import artifacts as artifacts_in
from bge_cpu.quantization.hashes import weight_hashes
from tests import checkpoints

PAIRS = [("panda", "a bear"), ("panda", "竹子")]


def load(model: Path | str, cache: Path, min_fidelity: float | None = None) -> list[float]:
    return Reranker.load(model, mode="onnx-int8", cache_dir=cache, min_fidelity=min_fidelity).score(PAIRS)


def only_artifact(cache: Path) -> Path:
    ((folder, manifest),) = artifacts_in(cache)
    assert manifest is not None
    return folder


def copied(source: Path, folder: Path) -> Path:
    """A copy with times of its own, as tar and cp make it."""
    return Path(shutil.copytree(source, folder, copy_function=shutil.copy))


def quiet_load(model: Path | str, cache: Path) -> list[float]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load(model, cache)


def test_one_artifact_wherever_the_checkpoint_lies(
    tiny_xlmr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = copied(tiny_xlmr, tmp_path / "model")
    expected = load(model, tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    for name in ("model", "./model", str(copied(model, tmp_path / "elsewhere"))):
        assert quiet_load(name, tmp_path / "cache") == expected
    (tmp_path / "link").symlink_to(model)
    assert quiet_load(tmp_path / "link", tmp_path / "cache") == expected
    only_artifact(tmp_path / "cache")


def test_the_cache_moves_with_the_checkpoint(tiny_xlmr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load(tiny_xlmr, tmp_path / "cache", min_fidelity=0.0)
    model, cache = copied(tiny_xlmr, tmp_path / "image/model"), copied(tmp_path / "cache", tmp_path / "image/cache")
    monkeypatch.setattr(artifacts, "write_safetensors", None)  # nothing is built any more
    assert quiet_load(model, cache) == expected


def test_other_weights_of_the_same_size_and_time_are_another_checkpoint(tiny_xlmr: Path, tmp_path: Path) -> None:
    model, cache = copied(tiny_xlmr, tmp_path / "model"), tmp_path / "cache"
    file = model / "model.safetensors"
    os.utime(file, ns=(0, 0))
    first = load(model, cache)
    tensors = {name: tensor * np.float32(0.7) for name, tensor in load_file(file).items()}
    checkpoints.save(tensors, tmp_path / "new")
    assert (tmp_path / "new").stat().st_size == file.stat().st_size
    (tmp_path / "new").replace(file)
    os.utime(file, ns=(0, 0))
    assert load(model, cache) != first
    assert load(model, cache) == load(model, tmp_path / "fresh"), "and not a stale artifact's scores"
    with file.open("r+b") as stream:  # written in place: same path, size, time and inode
        stream.seek(-4, os.SEEK_END)
        stream.write(np.float32(3).tobytes())
    os.utime(file, ns=(0, 0))
    assert load(model, cache) == load(model, tmp_path / "fresh")
    assert len(artifacts_in(cache)) == 3


def test_weights_are_hashed_once(tiny_xlmr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = open_checkpoint(tiny_xlmr)
    (found,) = weight_hashes(checkpoint, tmp_path, threads=1)
    command = ["sha256sum", str(tiny_xlmr / "model.safetensors")]
    assert found == subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    monkeypatch.setattr(hashes, "sha256", None)
    assert weight_hashes(checkpoint, tmp_path, threads=1) == [found]
    memory = tmp_path / "checkpoints.json"
    for harm in ("{", "[]", '{"a": 5}', json.dumps({str(tiny_xlmr / "model.safetensors"): [1, 2, 3, 4, "no hash"]})):
        memory.write_text(harm)
        monkeypatch.undo()
        assert weight_hashes(checkpoint, tmp_path, threads=1) == [found]


def hub_cache(checkpoint: Path, place: Path, name: str) -> Path:
    """A checkpoint laid out as in the Hub's cache: links to files that are named by their hash."""
    snapshot, blobs = place / "snapshots" / ("0" * 40), place / "blobs"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for file in ("config.json", "tokenizer.json"):
        shutil.copy(checkpoint / file, snapshot)
    shutil.copy(checkpoint / "model.safetensors", blobs / name)
    (snapshot / "model.safetensors").symlink_to(blobs / name)
    return snapshot


def test_a_name_in_the_hub_cache_is_checked_when_it_is_built_upon(tiny_xlmr: Path, tmp_path: Path) -> None:
    (right,) = weight_hashes(open_checkpoint(tiny_xlmr), None, threads=1)
    for name, whole in ((right, True), ("f" * 64, False)):
        snapshot = hub_cache(tiny_xlmr, tmp_path / name, name)
        opened = open_checkpoint(snapshot)
        checkpoint = type(opened)(opened.name, snapshot, opened.config, opened.weights, commit="0" * 40)
        assert weight_hashes(checkpoint, None, threads=1) == [name]
        made = artifacts.obtain(checkpoint, recipe(checkpoint), cache_dir=tmp_path / "cache", threads=2)
        if whole:
            with made:
                pass
            quiet_load(tiny_xlmr, tmp_path / "cache")  # the same checkpoint
        else:
            with pytest.raises(CheckpointError, match="what the Hub's cache says"), made:
                pass
    only_artifact(tmp_path / "cache")


@pytest.mark.parametrize("umask", [0o077, 0o022])
def test_whoever_may_read_the_cache_may_read_its_artifacts(tiny_xlmr: Path, tmp_path: Path, umask: int) -> None:
    for mode, folders, files in ((0o755, 0o755, 0o644), (0o700, 0o700, 0o600), (0o777, 0o755, 0o644)):
        cache = tmp_path / f"{mode:o}"
        cache.mkdir()
        cache.chmod(mode)
        before = os.umask(umask)
        try:
            load(tiny_xlmr, cache, min_fidelity=0.0)
        finally:
            os.umask(before)
        for path in (only_artifact(cache), *only_artifact(cache).iterdir(), cache / "checkpoints.json"):
            assert stat.S_IMODE(path.stat().st_mode) == (folders if path.is_dir() else files), path


AS_NOBODY = """
import os, sys, warnings
from bge_cpu import Reranker
from bge_cpu.quantization import artifacts, hashes
load = lambda: Reranker.load(sys.argv[1], mode="onnx-int8", cache_dir=sys.argv[2])
load()  # imports all that root alone may read here
os.setgroups([]); os.setgid(65534); os.setuid(65534)
artifacts.write_safetensors = hashes.sha256 = None  # neither built nor read again
warnings.simplefilter("error")
print(load().score([("panda", "a bear")]) != [])
"""


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="needs to be root, to become another user")
@pytest.mark.model
def test_another_user_loads_what_root_has_built(mini: Path) -> None:
    with tempfile.TemporaryDirectory() as cache:  # pytest's own folders are for root alone
        Path(cache).chmod(0o755)
        command = [sys.executable, "-c", AS_NOBODY, str(mini), cache]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", umask=0o077)
    assert done.stdout == "True\n", done.stderr


def test_a_foreign_artifact_in_the_place_is_not_taken(tiny_xlmr: Path, mini: Path, tmp_path: Path) -> None:
    expected, folder = load(tiny_xlmr, tmp_path / "cache"), only_artifact(tmp_path / "cache")
    load(mini, tmp_path / "other")
    shutil.rmtree(folder)
    shutil.copytree(only_artifact(tmp_path / "other"), folder)
    with pytest.warns(UserWarning, match=r"damaged \(it is another checkpoint's\); .* is now .*aside"):
        assert load(tiny_xlmr, tmp_path / "cache") == expected
    assert quiet_load(tiny_xlmr, tmp_path / "cache") == expected
    assert len(list((tmp_path / "cache").glob("*.aside/model.safetensors"))) == 1, "moved, not removed"


@pytest.mark.parametrize("what", ["file", "dangling link", "link to a folder", "folder of others"])
def test_whatever_lies_in_an_artifacts_place_is_moved_aside(tiny_xlmr: Path, tmp_path: Path, what: str) -> None:
    expected, folder = load(tiny_xlmr, tmp_path / "cache"), only_artifact(tmp_path / "cache")
    shutil.rmtree(folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/model.safetensors").write_text("mine")
    if what == "file":
        folder.write_text("mine")
    elif what == "folder of others":
        (tmp_path / "mine").rename(folder)
    else:
        folder.symlink_to(tmp_path / ("nowhere" if what == "dangling link" else "mine"))
    with pytest.warns(UserWarning, match="building it again; what was there is now"):
        assert load(tiny_xlmr, tmp_path / "cache") == expected
    assert quiet_load(tiny_xlmr, tmp_path / "cache") == expected
    (aside,) = (tmp_path / "cache").glob("*.aside")
    if what == "file":
        assert aside.read_text() == "mine"
    elif what != "dangling link":
        assert (aside / "model.safetensors").read_text() == "mine"


@pytest.mark.parametrize(
    ("field", "value"),
    [("size", "12"), ("sha256", 5), ("version", True), ("model", None), ("weights", {"a": 1}), ("mode", ["onnx-int8"])],
)
def test_a_manifest_with_a_wrong_type_is_mended(tiny_xlmr: Path, tmp_path: Path, field: str, value: object) -> None:
    expected, manifest = load(tiny_xlmr, tmp_path), only_artifact(tmp_path) / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {field: value}))
    with pytest.warns(UserWarning, match="is damaged"):
        assert load(tiny_xlmr, tmp_path) == expected
    assert quiet_load(tiny_xlmr, tmp_path) == expected


@pytest.mark.parametrize("harm", ["nested", "fifo", "fifo of tensors", "folder"])
def test_strange_things_in_an_artifact_are_mended(tiny_xlmr: Path, tmp_path: Path, harm: str) -> None:
    expected, folder = load(tiny_xlmr, tmp_path), only_artifact(tmp_path)
    file = folder / ("model.safetensors" if harm == "fifo of tensors" else "manifest.json")
    file.unlink()
    if harm == "nested":
        file.write_text("[" * 200_000)
    elif harm == "folder":
        file.mkdir()
    else:
        os.mkfifo(file)
    with pytest.warns(UserWarning, match="is damaged"):
        assert load(tiny_xlmr, tmp_path) == expected


SHORT_OF_FILES = """
import resource, sys
from bge_cpu import BgeCpuError, Reranker
load = lambda: Reranker.load(sys.argv[1], mode="onnx-int8", cache_dir=sys.argv[2], min_fidelity=None)
reranker = load()
files = []
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
try:
    while True: files.append(open("/dev/null"))
except OSError: pass
for spare in range(12):
    try: load()
    except BgeCpuError: pass
    files.pop().close()
"""


def test_too_many_open_files_are_no_damage(tiny_xlmr: Path, tmp_path: Path) -> None:
    load(tiny_xlmr, tmp_path)
    before = (only_artifact(tmp_path) / "model.safetensors").stat().st_ino
    command = [sys.executable, "-W", "ignore", "-c", SHORT_OF_FILES, str(tiny_xlmr), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (only_artifact(tmp_path) / "model.safetensors").stat().st_ino == before
    assert not list(tmp_path.glob("*.aside"))


def test_without_any_folder_to_write_in(tiny_xlmr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only root: neither cache nor temporary folder."""
    (tmp_path / "file").touch()
    for variable in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(variable, str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("tempfile._candidate_tempdir_list", lambda: [str(tmp_path / "file")])
    with pytest.warns(UserWarning, match="cannot be used"), pytest.raises(ArtifactError) as caught:
        load(tiny_xlmr, tmp_path / "file")
    assert str(caught.value).startswith("there is no folder to build the artifact in: No usable temporary directory")
    assert "\nhint: set cache_dir, or TMPDIR," in str(caught.value)


@pytest.mark.parametrize("cache_dir", [5, b"cache", "", "a\0b", "~nobody-of-this-name/cache", ["a"]])
def test_a_cache_dir_that_is_none(tiny_xlmr: Path, cache_dir: object) -> None:
    with pytest.raises(InputError, match="cache_dir is None or a folder's name, not"):
        Reranker.load(tiny_xlmr, mode="onnx-int8", cache_dir=cache_dir)  # type: ignore[arg-type]
