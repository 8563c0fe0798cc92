"""The path from pairs to a ranking, with a fake engine that scores a pair by its length."""

import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bge_cpu import BgeCpuError, InputError, Ranked, Reranker
from tests import checkpoints, modes
from tests.fakes import ConstantEngine, LengthEngine, reranker


def test_score_keeps_input_order_and_gives_plain_floats() -> None:
    scores = reranker().score([("q", "a b c d e f g h"), ("q", "a"), ("q", "a b c")])
    assert scores[0] > scores[2] > scores[1]
    assert {type(score) for score in scores} == {float}


def test_rank_sorts_and_maps_back() -> None:
    ranking = reranker().rank("q", ["a", "a b c d e", "a b c"], normalize=None)
    assert [item.index for item in ranking] == [1, 2, 0]
    assert [item.document for item in ranking] == ["a b c d e", "a b c", "a"]
    assert isinstance(ranking[0], Ranked)
    assert type(ranking[0].score) is float
    assert type(ranking[0].index) is type(ranking[0].truncated_tokens) is int


def test_ties_stand_in_input_order_even_where_the_sigmoid_saturates() -> None:
    assert [item.index for item in reranker(ConstantEngine(1.0)).rank("q", list("abcd"))] == [0, 1, 2, 3]
    ranking = reranker(LengthEngine(more=100)).rank("q", ["a", "a b c d"])
    assert ranking[0].score == ranking[1].score == 1.0
    assert [item.index for item in ranking] == [1, 0]


def test_top_n_and_softmax_over_all() -> None:
    everything = reranker().rank("q", ["a", "a b", "a b c"], normalize="softmax")
    assert sum(item.score for item in everything) == pytest.approx(1)
    best = reranker().rank("q", ["a", "a b", "a b c"], normalize="softmax", top_n=1)
    assert list(best) == [everything[0]]
    assert len(reranker().rank("q", ["a"], top_n=5)) == 1


def test_empty_is_an_ordinary_input() -> None:
    assert reranker().score([]) == []
    assert list(reranker().rank("q", [])) == []
    assert list(reranker().score_stream([])) == []
    assert reranker().score([], normalize="softmax") == []
    assert len(reranker().rank("q", [""])) == 1


def test_truncation_is_told_once_with_the_number_of_pairs() -> None:
    short_sighted = reranker(max_length=32)
    long, short = checkpoints.text(100, seed=1), "a"
    with pytest.warns(UserWarning, match=r"cut to max_length=32 tokens: 2 of the pairs") as caught:
        ranking = short_sighted.rank("q", [long, short, long])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert sorted(item.truncated_tokens > 0 for item in ranking) == [False, True, True]
    with pytest.warns(UserWarning, match="1 of the pairs") as caught:
        short_sighted.score([("q", long)])
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        short_sighted.rank("q", [short])


def test_a_stream_is_read_a_little_at_a_time() -> None:
    read = 0

    def source() -> Iterator[tuple[str, str]]:
        nonlocal read
        for _ in range(1_000_000):
            read += 1
            yield "q", "a"

    stream = reranker().score_stream(source())
    assert read == 0
    next(stream)
    assert read <= 64


def test_a_stream_gives_what_score_gives() -> None:
    pairs = [("q", checkpoints.text(n % 7, seed=n)) for n in range(100)]
    scores = reranker().score(pairs, normalize="sigmoid")
    assert list(reranker().score_stream(iter(pairs), normalize="sigmoid")) == scores


def test_a_stream_loses_no_score_before_a_bad_pair() -> None:
    pairs: list[Any] = [("q", "a")] * 40 + [("q", None)] + [("q", "a")] * 5
    scores = []
    with pytest.raises(InputError, match="document of pair 40 is a str, not NoneType"):
        for score in reranker().score_stream(pairs):
            scores.append(score)
    assert len(scores) == 40


def test_a_stream_loses_no_score_when_its_source_fails() -> None:
    def source() -> Iterator[tuple[str, str]]:
        yield from [("q", "a")] * 5
        raise ConnectionError("gone")

    scores = []
    with pytest.raises(ConnectionError):
        for score in reranker().score_stream(source()):
            scores.append(score)
    assert len(scores) == 5


def test_a_stream_left_early_still_tells_of_truncation() -> None:
    stream = reranker(max_length=32).score_stream([("q", checkpoints.text(100, seed=1))] * 3)
    next(stream)
    with pytest.warns(UserWarning, match="cut to max_length=32"):
        stream.close()  # type: ignore[attr-defined]


def test_an_error_in_a_stream_is_not_replaced_by_its_warning() -> None:
    pairs: list[Any] = [("q", checkpoints.text(100, seed=1)), ("q", None)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError):
            list(reranker(max_length=32).score_stream(pairs))


def test_a_stream_refuses_softmax_at_once() -> None:
    with pytest.raises(InputError, match="one of 'sigmoid', not 'softmax'"):
        reranker().score_stream([], normalize="softmax")


@pytest.mark.parametrize("mode", modes.params("fp32", "onnx"))
def test_many_callers_at_once_get_their_own_scores(tiny_xlmr: Path, mode: str) -> None:
    loaded = Reranker.load(tiny_xlmr, mode=mode)
    requests = [[("q", checkpoints.text(length, seed=seed)) for length in (1, 5, 12)] for seed in range(24)]
    expected = [loaded.score(request) for request in requests]
    with ThreadPoolExecutor(8) as callers:
        scores = list(callers.map(loaded.score, requests * 3))
    assert np.allclose(scores, expected * 3, atol=1e-5)


def test_a_megabyte_document_is_cut_and_told(tiny_reranker: Reranker) -> None:
    with pytest.warns(UserWarning, match="cut to max_length=512 tokens: 1 of the pairs"):
        ranking = tiny_reranker.rank("q", ["short", "word " * 200_000])
    assert {item.index: item.truncated_tokens > 100_000 for item in ranking} == {0: False, 1: True}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_is_told_instead_of_hanging(tiny_reranker: Reranker) -> None:
    expected = tiny_reranker.score([("q", "a")] * 5)
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            tiny_reranker.score([("q", "a")] * 5)
        except BgeCpuError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as pipe:
        message = pipe.read()
    os.waitpid(child, 0)
    assert "loaded before the process forked" in message
    assert tiny_reranker.score([("q", "a")] * 5) == expected
