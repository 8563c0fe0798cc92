"""A reranker in other processes: pickled, spawned, forked."""

import copy
import os
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from huggingface_hub import constants

from bge_cpu import BgeCpuError, Ranking, Reranker

PAIRS = [("what is panda?", "hi"), ("what is panda?", "a bear that eats bamboo")]


def test_a_loaded_reranker_is_pickled_as_its_options_and_loads_again(tiny_xlmr: Path) -> None:
    reranker = Reranker.load(tiny_xlmr, mode="onnx", max_length=64, threads=1)
    pickled = pickle.dumps(reranker)
    read = pickle.loads(pickled)
    assert len(pickled) < 1000
    assert (repr(read), read.score(PAIRS)) == (repr(reranker), reranker.score(PAIRS))
    assert read is not reranker and copy.copy(reranker) is copy.deepcopy(reranker) is reranker
    assert pickle.loads(pickle.dumps(read)).score(PAIRS) == reranker.score(PAIRS)


def test_a_spawned_pool_takes_a_loaded_reranker(tiny_reranker: Reranker) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        score, rank = pool.submit(tiny_reranker.score, PAIRS), pool.submit(tiny_reranker.rank, "q", ["one", "two"])
        assert score.result(120) == tiny_reranker.score(PAIRS)
        ranking = rank.result(120)
    assert isinstance(ranking, Ranking) and ranking == tiny_reranker.rank("q", ["one", "two"])


def test_what_was_found_is_loaded_again_though_the_hub_has_moved_on(
    tiny_xlmr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repo, old, new = tmp_path / "models--someone--tiny", "0" * 40, "1" * 40
    shutil.copytree(tiny_xlmr, repo / "snapshots" / old)
    (repo / "refs").mkdir()
    (repo / "refs/main").write_text(old)
    reranker = Reranker.load("someone/tiny", mode="onnx", local_files_only=True)
    (repo / "snapshots" / new).mkdir()  # of which nothing is there yet
    (repo / "refs/main").write_text(new)
    assert pickle.loads(pickle.dumps(reranker)).score(PAIRS) == reranker.score(PAIRS)


def test_one_of_parts_says_why_it_cannot_be_pickled(tiny_reranker: Reranker) -> None:
    parts = Reranker(tiny_reranker.tokenizer, tiny_reranker.engine)
    with pytest.raises(BgeCpuError, match=r"from parts cannot be pickled\nhint: one that Reranker.load made can"):
        pickle.dumps(parts)
    assert copy.copy(parts) is copy.deepcopy(parts) is parts


def test_the_hint_after_a_fork_names_what_helps(tiny_reranker: Reranker, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Reranker(tiny_reranker.tokenizer, tiny_reranker.engine)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(BgeCpuError, match=r"stayed behind\nhint: load it in the child process$"):
        parts.score(PAIRS)
    with pytest.raises(BgeCpuError, match="or start processes with the method 'spawn', where it loads again"):
        tiny_reranker.score(PAIRS)
