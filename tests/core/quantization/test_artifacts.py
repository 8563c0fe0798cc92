"""The artifact cache: built once, checked at every load, whole or not there, whatever happens meanwhile."""

import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from bge_cpu import ArtifactError, Reranker
from bge_cpu.quantization.artifacts import artifacts, damage, digest

PAIRS = [("panda", "a bear"), ("panda", "竹子")]

LOAD = """
import sys, warnings
from bge_cpu import Reranker
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    reranker = Reranker.load(sys.argv[1], mode="onnx-int8", cache_dir=sys.argv[2] or None, min_fidelity=None)
print(reranker.score([("panda", "a bear"), ("panda", "竹子")]))
print([str(warning.message) for warning in caught])
"""


def load(model: Path, cache: Path) -> list[float]:
    return Reranker.load(model, mode="onnx-int8", cache_dir=cache, min_fidelity=None).score(PAIRS)


def start(model: Path, cache: Path | str, **settings: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", LOAD, str(model), str(cache)]
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=os.environ | settings)


def only_artifact(cache: Path) -> Path:
    ((folder, manifest),) = artifacts(cache)
    assert manifest is not None
    return folder


def mount(folder: Path, options: str) -> Path:
    """A small file system of its own, where the machine allows it."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    return folder


def test_built_once_and_found_again(tiny_xlmr: Path, tmp_path: Path) -> None:
    first = load(tiny_xlmr, tmp_path)
    folder = only_artifact(tmp_path)
    before = (folder / "model.safetensors").stat()
    assert load(tiny_xlmr, tmp_path) == first
    after = (folder / "model.safetensors").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert damage(folder) is None


def test_the_safetensors_library_reads_an_artifact(tiny_xlmr: Path, tmp_path: Path) -> None:
    load(tiny_xlmr, tmp_path)
    tensors = load_file(only_artifact(tmp_path) / "model.safetensors")
    name = "roberta.encoder.layer.0.output.dense.weight"
    source = load_file(tiny_xlmr / "model.safetensors")[name]
    assert tensors[name].dtype == np.int8
    restored = tensors[name].T * tensors[f"{name}.scales"][:, None]
    assert np.abs(restored - source).max() <= tensors[f"{name}.scales"].max() / 2 * 1.001


def test_another_checkpoint_is_another_artifact(tiny_xlmr: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_xlmr, tmp_path / "copy"))
    load(copy, tmp_path / "cache")
    with (copy / "tokenizer.json").open("a") as stream:
        stream.write("\n")
    load(copy, tmp_path / "cache")
    assert len(artifacts(tmp_path / "cache")) == 2


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_flipped_byte_is_noticed_and_mended(tiny_xlmr: Path, tmp_path: Path, place: str) -> None:
    expected = load(tiny_xlmr, tmp_path)
    file = only_artifact(tmp_path) / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[{"first": 0, "middle": len(content) // 2, "last": -1}[place]] ^= 1
    file.write_bytes(content)
    with pytest.warns(UserWarning, match=r"is damaged \(its hash does not match\); building it again"):
        assert load(tiny_xlmr, tmp_path) == expected
    assert damage(only_artifact(tmp_path)) is None


@pytest.mark.parametrize("harm", ["half", "no manifest", "no tensors", "manifest garbled"])
def test_a_half_artifact_is_noticed_and_mended(tiny_xlmr: Path, tmp_path: Path, harm: str) -> None:
    expected = load(tiny_xlmr, tmp_path)
    folder = only_artifact(tmp_path)
    tensors, manifest = folder / "model.safetensors", folder / "manifest.json"
    if harm == "half":
        tensors.write_bytes(tensors.read_bytes()[: tensors.stat().st_size // 2])
    elif harm == "manifest garbled":
        manifest.write_text('{"size": ')
    else:
        (manifest if harm == "no manifest" else tensors).unlink()
    with pytest.warns(UserWarning, match="is damaged"):
        assert load(tiny_xlmr, tmp_path) == expected
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(tiny_xlmr, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 8])
def test_many_processes_at_once_build_one(tiny_xlmr: Path, tmp_path: Path, processes: int) -> None:
    children = [start(tiny_xlmr, tmp_path) for _ in range(processes)]
    outputs = [child.communicate(timeout=120) for child in children]
    assert [child.returncode for child in children] == [0] * processes, outputs
    told = [out.splitlines() for out, _ in outputs]
    assert {scores for scores, _ in told} == {told[0][0]}
    assert all(said == "[]" or said.startswith("['waiting for another process that builds") for _, said in told)
    only_artifact(tmp_path)


def test_kill_9_during_a_build_leaves_no_artifact_and_no_lock(tiny_xlmr: Path, tmp_path: Path) -> None:
    slow = LOAD.replace(
        "from bge_cpu import Reranker\n",
        "import time\nfrom bge_cpu import Reranker\nfrom bge_cpu.quantization import artifacts\n"
        "write = artifacts.write_safetensors\n"
        "def slowly(file, tensors, **options):\n"
        "    def wait():\n"
        "        for tensor in tensors: time.sleep(0.2); yield tensor\n"
        "    write(file, wait(), **options)\n"
        "artifacts.write_safetensors = slowly\n",
    )
    child = subprocess.Popen([sys.executable, "-c", slow, str(tiny_xlmr), str(tmp_path)])
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".*/model.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.5)
    child.send_signal(signal.SIGKILL)
    child.wait()
    left = artifacts(tmp_path)
    assert [manifest for _, manifest in left] == [None], "what is left is no artifact"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(tiny_xlmr, tmp_path)
    assert damage(only_artifact(tmp_path)) is None, "and the next build has swept it away"


def test_a_full_disk_is_an_error_and_leaves_nothing(tiny_xlmr: Path, tmp_path: Path) -> None:
    cache = mount(tmp_path / "small", "size=64k")
    try:
        with pytest.raises(ArtifactError, match=r"could not be built: No space left on device\nhint: make room"):
            load(tiny_xlmr, cache)
        assert artifacts(cache) == []
    finally:
        subprocess.run(["umount", str(cache)], check=True)


def test_a_read_only_cache_works_without_and_says_so(tiny_xlmr: Path, tmp_path: Path) -> None:
    expected = load(tiny_xlmr, tmp_path / "elsewhere")
    cache = mount(tmp_path / "readonly", "ro")
    try:
        with pytest.warns(UserWarning, match=r"cannot be used \(Read-only file system\); building the artifact for"):
            assert load(tiny_xlmr, cache) == expected
    finally:
        subprocess.run(["umount", str(cache)], check=True)


def test_a_cache_that_is_a_file_works_without_and_says_so(tiny_xlmr: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="cannot be used"):
        assert load(tiny_xlmr, tmp_path / "file") == load(tiny_xlmr, tmp_path / "elsewhere")


def test_a_read_only_cache_with_the_artifact_in_it_is_used(tiny_xlmr: Path, tmp_path: Path) -> None:
    cache = mount(tmp_path / "cache", "size=64m")
    try:
        expected = load(tiny_xlmr, cache)
        subprocess.run(["mount", "-o", "remount,ro", str(cache)], check=True)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert load(tiny_xlmr, cache) == expected
    finally:
        subprocess.run(["umount", "-l", str(cache)], check=True)


def test_home_unset(tiny_xlmr: Path, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("HOME", "XDG_CACHE_HOME")}
    nobody = "import os, pwd\ndef none(*_): raise KeyError\npwd.getpwuid = none\n"
    child = subprocess.run(
        [sys.executable, "-c", nobody + LOAD, str(tiny_xlmr), ""],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
    assert "the user has no home folder" in child.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_clock_set_back_makes_no_difference(tiny_xlmr: Path, tmp_path: Path) -> None:
    expected = load(tiny_xlmr, tmp_path)
    folder = only_artifact(tmp_path)
    for file in folder.iterdir():
        os.utime(file, (2**32, 2**32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(tiny_xlmr, tmp_path) == expected
    only_artifact(tmp_path)


def test_digest_covers_every_part(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * (33 << 20))
    whole = digest(tmp_path / "a")
    with (tmp_path / "a").open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"y")
    assert digest(tmp_path / "a") != whole
