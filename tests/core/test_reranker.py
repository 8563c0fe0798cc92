"""The path from pairs to a ranking, with a fake engine that scores a pair by its length."""

import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
from numpy.typing import NDArray

from bge_cpu import BgeCpuError, CheckpointError, InputError, Ranked, Reranker
from bge_cpu.tokenizer import PairTokenizer, TokenizedPair


class LengthEngine:
    """Logit = the pair's tokens (less 10); remembers how many pairs it was given at once."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def logits(self, pairs: Sequence[TokenizedPair]) -> NDArray[np.float32]:
        self.calls.append(len(pairs))
        return np.array([len(pair) - 10 for pair in pairs], dtype=np.float32)


class ConstantEngine:
    """The same logit for every pair."""

    def __init__(self, logit: float) -> None:
        self.logit = logit

    def logits(self, pairs: Sequence[TokenizedPair]) -> NDArray[np.float32]:
        return np.full(len(pairs), self.logit, dtype=np.float32)


def make(engine: Any = None, max_length: int = 512) -> Reranker:
    return Reranker(PairTokenizer(checkpoints.tokenizer("xlm-roberta"), max_length), engine or LengthEngine())


def test_score_keeps_input_order_and_gives_plain_floats() -> None:
    scores = make().score([("q", "a b c d e f g h"), ("q", "a"), ("q", "a b c")])
    assert scores[0] > scores[2] > scores[1]
    assert {type(score) for score in scores} == {float}


def test_rank_sorts_and_maps_back() -> None:
    ranking = make().rank("q", ["a", "a b c d e", "a b c"], normalize=None)
    assert [item.index for item in ranking] == [1, 2, 0]
    assert [item.document for item in ranking] == ["a b c d e", "a b c", "a"]
    assert isinstance(ranking[0], Ranked)
    assert type(ranking[0].score) is float
    assert type(ranking[0].index) is type(ranking[0].truncated_tokens) is int


def test_ties_stand_in_input_order_even_where_the_sigmoid_saturates() -> None:
    assert [item.index for item in make(ConstantEngine(1.0)).rank("q", list("abcd"))] == [0, 1, 2, 3]
    ranking = make(HundredsEngine()).rank("q", ["a", "a b c d"])
    assert ranking[0].score == ranking[1].score == 1.0
    assert [item.index for item in ranking] == [1, 0]


class HundredsEngine(LengthEngine):
    """Logits so high that their sigmoids are all 1."""

    def logits(self, pairs: Sequence[TokenizedPair]) -> NDArray[np.float32]:
        return super().logits(pairs) + np.float32(100)


def test_top_n_and_softmax_over_all() -> None:
    everything = make().rank("q", ["a", "a b", "a b c"], normalize="softmax")
    assert sum(item.score for item in everything) == pytest.approx(1)
    best = make().rank("q", ["a", "a b", "a b c"], normalize="softmax", top_n=1)
    assert list(best) == [everything[0]]
    assert len(make().rank("q", ["a"], top_n=5)) == 1


def test_empty_is_an_ordinary_input() -> None:
    assert make().score([]) == []
    assert list(make().rank("q", [])) == []
    assert list(make().score_stream([])) == []
    assert make().score([], normalize="softmax") == []
    assert len(make().rank("q", [""])) == 1


def test_inputs_are_not_mutated() -> None:
    documents, pairs = ["b", "a a a"], [["q", "b"], ("q", "a")]
    make().rank("q", documents)
    make().score(pairs)  # type: ignore[arg-type]
    assert documents == ["b", "a a a"]
    assert pairs == [["q", "b"], ("q", "a")]


def test_many_pairs_reach_the_engine_in_bounded_portions() -> None:
    engine = LengthEngine()
    assert len(make(engine).score([("q", "a")] * 2_500)) == 2_500
    assert max(engine.calls) <= 1_024


def test_truncation_is_told_once_with_the_number_of_pairs() -> None:
    reranker = make(max_length=32)
    long, short = checkpoints.text(100, seed=1), "a"
    with pytest.warns(UserWarning, match=r"cut to max_length=32 tokens: 2 of the pairs") as caught:
        ranking = reranker.rank("q", [long, short, long])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert sorted(item.truncated_tokens > 0 for item in ranking) == [False, True, True]
    with pytest.warns(UserWarning, match="1 of the pairs") as caught:
        reranker.score([("q", long)])
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reranker.rank("q", [short])


def test_a_stream_is_read_a_little_at_a_time() -> None:
    read = 0

    def source() -> Iterator[tuple[str, str]]:
        nonlocal read
        for _ in range(1_000_000):
            read += 1
            yield "q", "a"

    stream = make().score_stream(source())
    assert read == 0
    next(stream)
    assert read <= 64


def test_a_stream_gives_what_score_gives() -> None:
    pairs = [("q", checkpoints.text(n % 7, seed=n)) for n in range(100)]
    assert list(make().score_stream(iter(pairs), normalize="sigmoid")) == make().score(pairs, normalize="sigmoid")


def test_a_stream_loses_no_score_before_a_bad_pair() -> None:
    pairs: list[Any] = [("q", "a")] * 40 + [("q", None)] + [("q", "a")] * 5
    scores = []
    with pytest.raises(InputError, match="document of pair 40 is a str, not NoneType"):
        for score in make().score_stream(pairs):
            scores.append(score)
    assert len(scores) == 40


def test_a_stream_loses_no_score_when_its_source_fails() -> None:
    def source() -> Iterator[tuple[str, str]]:
        yield from [("q", "a")] * 5
        raise ConnectionError("gone")

    scores = []
    with pytest.raises(ConnectionError):
        for score in make().score_stream(source()):
            scores.append(score)
    assert len(scores) == 5


def test_a_stream_left_early_still_tells_of_truncation() -> None:
    stream = make(max_length=32).score_stream([("q", checkpoints.text(100, seed=1))] * 3)
    next(stream)
    with pytest.warns(UserWarning, match="cut to max_length=32"):
        stream.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("logit", [float("nan"), float("inf"), float("-inf")])
def test_a_logit_that_is_no_number_is_an_error_that_names_the_pair(logit: float) -> None:
    class OneBad(LengthEngine):
        def logits(self, pairs: Sequence[TokenizedPair]) -> NDArray[np.float32]:
            logits = super().logits(pairs)
            logits[2] = logit
            return logits

    documents = ["zero", "one", "two", "three"]
    with pytest.raises(CheckpointError, match=rf"pair 2 the logit {logit}: 'q' / 'two'"):
        make(OneBad()).rank("q", documents)
    with pytest.raises(CheckpointError, match="pair 2"):
        list(make(OneBad()).score_stream([("q", document) for document in documents]))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "query is empty"),
        (" \n\t\u3000", "query is empty"),
        (None, "query is a str, not NoneType"),
        (b"q", "query is a str, not bytes"),
        ("\ud800", r"lone surrogate \(U\+D800"),
    ],
)
def test_bad_queries_are_refused(query: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make().rank(query, ["a"])
    with pytest.raises(InputError, match=message.replace("query", "query of pair 1")):
        make().score([("q", "a"), (query, "a")])


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ("one text", "documents is a list of str, not str"),
        (None, "documents is a list of str, not NoneType"),
        (["a", None], "document 1 is a str, not NoneType"),
        (["a", b"b"], "document 1 is a str, not bytes"),
        (["a", {"text": "b"}], "document 1 is a str, not dict"),
        (["\udcff"], "document 0 holds a lone surrogate"),
        ({"a": "b"}, "documents is a list of str, not dict"),
    ],
)
def test_bad_documents_are_refused(documents: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make().rank("q", documents)


@pytest.mark.parametrize("pairs", [("q", "d"), [("q",)], [("q", "d", "e")], ["qd"], [{"q": "d"}], None, "qd", 3])
def test_what_is_not_a_list_of_pairs_is_refused(pairs: Any) -> None:
    with pytest.raises(InputError, match="pair"):
        make().score(pairs)
    with pytest.raises(InputError, match="pair"):
        list(make().score_stream(pairs))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_n": 0}, "top_n is a whole number of at least 1, not 0"),
        ({"top_n": -1}, "top_n"),
        ({"top_n": "3"}, "top_n"),
        ({"top_n": True}, "top_n"),
        ({"normalize": "minmax"}, "normalize is None or one of 'sigmoid', 'softmax', not 'minmax'"),
        ({"normalize": True}, "normalize"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make().rank("q", ["a"], **options)
    with pytest.raises(TypeError):
        make().rank("q", ["a"], topn=3)  # type: ignore[call-arg]


def test_str_subclasses_are_scored_as_the_text_they_hold() -> None:
    class Query(str, Enum):
        PANDA = "what is a giant panda?"

    assert make().score([(Query.PANDA, "a")]) == make().score([("what is a giant panda?", "a")])
    assert type(make().rank("q", [np.str_("x")], top_n=np.int64(1))[0].document) is str


def test_an_error_in_a_stream_is_not_replaced_by_its_warning() -> None:
    pairs: list[Any] = [("q", checkpoints.text(100, seed=1)), ("q", None)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError):
            list(make(max_length=32).score_stream(pairs))


def test_a_stream_refuses_softmax_at_once() -> None:
    with pytest.raises(InputError, match="one of 'sigmoid', not 'softmax'"):
        make().score_stream([], normalize="softmax")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "int4"}, "mode is one of fp32, bf16, int8, onnx, onnx-int8, not 'int4'"),
        ({"mode": 8}, "mode is one of"),
        ({"mode": "fp16"}, "'fp16' does not exist"),
        ({"mode": "half"}, 'for speed use mode="onnx-int8"'),
        ({"max_length": 0}, "max_length is a whole number"),
        ({"max_length": 9_000}, "max_length is 9000; .* takes at most 512 tokens"),
        ({"max_length": 5}, "max_length is a whole number of at least 6, not 5"),
        ({"threads": 0}, "threads is a whole number from 1 to 1024, not 0"),
        ({"threads": 2**40}, "threads is a whole number from 1 to 1024"),
        ({"min_fidelity": 2}, "min_fidelity is None or a number from 0 to 1, not 2"),
        ({"min_fidelity": "0.9"}, "min_fidelity"),
        ({"threads": 1.5}, "threads"),
        ({"revision": "main"}, "revision='main' is for Hub ids"),
    ],
)
def test_bad_load_options_are_refused(tiny_xlmr: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Reranker.load(tiny_xlmr, **options)
    with pytest.raises(TypeError):
        Reranker.load(tiny_xlmr, device="cpu")  # type: ignore[call-arg]


def test_errors_are_of_one_family() -> None:
    assert issubclass(InputError, ValueError)
    assert issubclass(InputError, BgeCpuError)


@pytest.mark.parametrize("mode", ["fp32", "onnx"])
def test_many_callers_at_once_get_their_own_scores(tiny_xlmr: Path, mode: str) -> None:
    reranker = Reranker.load(tiny_xlmr, mode=mode)
    requests = [[("q", checkpoints.text(length, seed=seed)) for length in (1, 5, 12)] for seed in range(24)]
    expected = [reranker.score(request) for request in requests]
    with ThreadPoolExecutor(8) as callers:
        scores = list(callers.map(reranker.score, requests * 3))
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
