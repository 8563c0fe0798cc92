"""`bge-cpu cache`: what lies there, and what is removed; never anything that is not ours."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from bge_cpu import Reranker
from bge_cpu.quantization.artifacts import artifacts
from bge_cpu.quantization.cache import leftover_name
from tests.commands import Call, caller

call = pytest.fixture(caller)


@pytest.fixture
def artifact(tiny_xlmr: Path, tmp_path: Path) -> Path:
    """A built artifact, of a copy of a checkpoint."""
    copy = shutil.copytree(tiny_xlmr, tmp_path / "model [/b]")
    Reranker.load(copy, mode="onnx-int8", cache_dir=tmp_path / "cache", min_fidelity=None)
    ((folder, _),) = artifacts(tmp_path / "cache")
    return folder


def listing(cache: Path) -> list[str]:
    return sorted(str(path.relative_to(cache)) for path in cache.rglob("*") if path.suffix != ".lock")


def left_by_a_build(artifact: Path) -> Path:
    left = artifact.with_name(leftover_name(artifact))
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    return left


def test_list_shows_models_and_prune_removes_leftovers(
    call: Call, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = left_by_a_build(artifact)
    monkeypatch.setenv("COLUMNS", "300")
    code, listed, _ = call("cache", "list", "--cache-dir", artifact.parent)
    listed = "".join(listed.split())
    assert code == 0 and "model[/b]" in listed and "onnx-int8" in listed and "whole" in listed and left.name in listed
    assert call("cache", "prune", "--cache-dir", artifact.parent) == (0, f"removed {left.name}\n0 MB freed\n", "")
    assert [folder for folder, _ in artifacts(artifact.parent)] == [artifact]
    assert f"removed {artifact.name}" in call("cache", "prune", "--all", "--cache-dir", artifact.parent)[1]
    assert artifacts(artifact.parent) == []


def test_list_as_json_and_in_40_columns(call: Call, artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = left_by_a_build(artifact)
    code, out, _ = call("cache", "list", "--cache-dir", artifact.parent, "--json", "-")
    answer = json.loads(out)
    assert (code, answer["cache"]) == (0, str(artifact.parent))
    stopped, whole = sorted(answer["artifacts"], key=lambda found: str(found["mode"]))
    assert stopped == {
        "folder": left.name,
        "bytes": 4,
        "model": None,
        "mode": None,
        "spearman": None,
        "state": "left by a build that was stopped",
    }
    assert whole["bytes"] == sum(file.stat().st_size for file in artifact.iterdir())
    assert (whole["folder"], whole["mode"], whole["state"]) == (artifact.name, "onnx-int8", "whole")
    assert whole["spearman"] is None and whole["model"].endswith("model [/b]")
    monkeypatch.setenv("COLUMNS", "40")
    lines = [line.split() for line in call("cache", "list", "--cache-dir", artifact.parent)[1].splitlines()]
    assert ["mode", "onnx-int8"] in lines and ["Spearman", "not", "measured"] in lines and ["state", "whole"] in lines


def test_prune_touches_nothing_that_is_not_ours(
    call: Call, artifact: Path, tiny_xlmr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    key = "0123456789abcdef" * 2
    shutil.copytree(tiny_xlmr, home / "checkpoint")
    shutil.copytree(tiny_xlmr, home / f"onnx-int8-{key}")  # the name of an artifact, without a manifest
    shutil.copytree(artifact, home / f"int8-{key}")  # an artifact's manifest, under another name
    shutil.copytree(artifact, home / artifact.name)
    (home / artifact.name / "notes.txt").write_text("mine")  # an artifact, with something else in it
    (home / f".onnx-int8-{key}.{key}").mkdir()
    (home / f".onnx-int8-{key}.{key}/thesis.tex").write_text("the name of a leftover")
    (home / f".onnx-int8-{key}.{key[:8]}").mkdir()
    (home / "link").symlink_to(artifact)
    (home / f".int8-{key}.{key}").symlink_to(tmp_path / "cache")
    for name in (".ssh/id", "Documents/letter", ".left.abc/model.safetensors"):
        (home / name).parent.mkdir(parents=True)
        (home / name).write_text("precious")
    before = listing(home), listing(artifact.parent)
    monkeypatch.chdir(home)
    for options in ((), ("--all",), ("--max-size", "0", "--older-than", "0", "--missing-source")):
        code, out, err = call("cache", "prune", *options, "--cache-dir", ".")
        assert (code, out) == (0, "0 MB freed\n"), err
    assert (listing(home), listing(artifact.parent)) == before
    shown = call("cache", "list", "--cache-dir", ".")[1]
    assert not any(name in shown for name in ("ssh", "Documents", "checkpoint", "left", "link"))


def test_prune_by_age_source_and_size(call: Call, artifact: Path, tiny_xlmr: Path, tmp_path: Path) -> None:
    cache = artifact.parent
    (tmp_path / "other").mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        shutil.copy(tiny_xlmr / name, tmp_path / "other")
    with (tmp_path / "other/tokenizer.json").open("a") as stream:
        stream.write("\n")
    Reranker.load(tmp_path / "other", mode="onnx-int8", cache_dir=cache, min_fidelity=None)
    (other,) = {folder for folder, _ in artifacts(cache)} - {artifact}

    def pruned(*options: str) -> set[Path]:
        before = {folder for folder, _ in artifacts(cache)}
        backup = shutil.copytree(cache, tmp_path / "backup")
        assert call("cache", "prune", *options, "--cache-dir", cache)[0] == 0
        after = {folder for folder, _ in artifacts(cache)}
        shutil.rmtree(cache)
        backup.rename(cache)
        return before - after

    ten_days_ago = time.time() - 10 * 86_400
    os.utime(artifact / "manifest.json", (ten_days_ago, ten_days_ago))
    assert pruned() == set()
    assert pruned("--older-than", "11") == set()
    assert pruned("--older-than", "9") == {artifact}
    size = sum(file.stat().st_size for file in artifact.iterdir())
    assert pruned("--max-size", str(3 * size / 1e9)) == set()
    assert pruned("--max-size", str(1.5 * size / 1e9)) == {artifact}, "the one used the longest ago"
    assert pruned("--max-size", "0") == {artifact, other}
    assert pruned("--missing-source") == set()
    shutil.rmtree(tmp_path / "other")  # its weights are those of the first checkpoint, which is still there
    assert pruned("--missing-source") == set()
    shutil.rmtree(tmp_path / "model [/b]")
    assert pruned("--missing-source") == {artifact, other}


def test_loading_counts_as_use(artifact: Path, tmp_path: Path) -> None:
    os.utime(artifact / "manifest.json", (0, 0))
    Reranker.load(tmp_path / "model [/b]", mode="onnx-int8", cache_dir=artifact.parent, min_fidelity=None)
    assert (artifact / "manifest.json").stat().st_mtime > 0


def test_pruning_leaves_a_loaded_engine_its_weights(call: Call, artifact: Path, tmp_path: Path) -> None:
    pairs = [("panda", "a bear"), ("panda", "竹子")]
    reranker = Reranker.load(
        tmp_path / "model [/b]", mode="onnx-int8", cache_dir=artifact.parent, min_fidelity=None, threads=2
    )
    expected = reranker.score(pairs)
    assert call("cache", "prune", "--all", "--cache-dir", artifact.parent)[0] == 0
    assert reranker.score(pairs * 8) == expected * 8
