"""The family of errors, and whose line a warning names: the caller's, through every door of the package."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bge_cpu import BgeCpuError, InputError, Reranker
from bge_cpu.errors import warn
from bge_cpu.export import export
from bge_cpu.quantization.artifacts import artifacts
from tests import checkpoints, fakes

LONG = checkpoints.text(100, seed=1)


def test_errors_are_of_one_family() -> None:
    assert issubclass(InputError, ValueError)
    assert issubclass(InputError, BgeCpuError)


@contextmanager
def names_this_file(message: str) -> Iterator[None]:
    """Within the block there is one warning, and its line is one of this file."""
    with pytest.warns(UserWarning, match=message) as caught:
        yield
    assert [warning.filename for warning in caught] == [__file__]


SCORING: dict[str, Callable[[Reranker], object]] = {
    "score": lambda reranker: reranker.score([("q", LONG)]),
    "rank": lambda reranker: reranker.rank("q", [LONG]),
    "rank in windows": lambda reranker: reranker.rank(LONG, ["a"], long_documents="windows"),
    "score_stream": lambda reranker: list(reranker.score_stream([("q", LONG)])),
    "score_stream, one by one": lambda reranker: [score for score in reranker.score_stream([("q", LONG)])],  # noqa: C416
}


@pytest.mark.parametrize("door", SCORING)
def test_truncation_names_the_line_that_scored(door: str) -> None:
    with names_this_file("cut to max_length=32 tokens: 1 of the pairs"):
        SCORING[door](fakes.reranker(max_length=32))


def test_a_stream_left_early_names_the_line_that_left_it() -> None:
    stream = fakes.reranker(max_length=32).score_stream([("q", LONG)] * 3)
    next(stream)
    with names_this_file("cut to max_length"):
        stream.close()  # type: ignore[attr-defined]


def load(model: Path, cache: Path) -> Reranker:
    return Reranker.load(model, mode="onnx-int8", cache_dir=cache, min_fidelity=None)


def damaged(model: Path, cache: Path) -> Path:
    """A cache with an artifact that has lost its last byte."""
    load(model, cache)
    ((folder, _),) = artifacts(cache)
    tensors = folder / "model.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1])
    return cache


def unwritable(folder: Path) -> Path:
    """A cache that is a file, which nobody can write into."""
    (folder / "file").write_text("")
    return folder / "file"


def test_a_damaged_artifact_names_the_line_that_loaded(tiny_xlmr: Path, tmp_path: Path) -> None:
    cache = damaged(tiny_xlmr, tmp_path)
    with names_this_file("is damaged .* building it again"):
        load(tiny_xlmr, cache)


def test_an_unwritable_cache_names_the_line_that_loaded(tiny_xlmr: Path, tmp_path: Path) -> None:
    with names_this_file("cannot be used"):
        load(tiny_xlmr, unwritable(tmp_path))


def test_a_damaged_artifact_names_the_line_that_exported(tiny_xlmr: Path, tmp_path: Path) -> None:
    cache = damaged(tiny_xlmr, tmp_path / "cache")
    with names_this_file("is damaged .* building it again"):
        export(tiny_xlmr, tmp_path / "out", mode="onnx-int8", cache_dir=cache, min_fidelity=None)


def test_each_line_warns_once_by_default() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            warn("the same")
        warn("the same")
    assert len({warning.lineno for warning in caught}) == len(caught) == 2
