"""What callers may pass in, and what each refusal says."""

from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bge_cpu import InputError, Reranker
from bge_cpu.engines import MODES
from tests.fakes import reranker


def test_inputs_are_not_mutated() -> None:
    documents, pairs = ["b", "a a a"], [["q", "b"], ("q", "a")]
    reranker().rank("q", documents)
    reranker().score(pairs)  # type: ignore[arg-type]
    assert documents == ["b", "a a a"]
    assert pairs == [["q", "b"], ("q", "a")]


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
        reranker().rank(query, ["a"])
    with pytest.raises(InputError, match=message.replace("query", "query of pair 1")):
        reranker().score([("q", "a"), (query, "a")])


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
        reranker().rank("q", documents)


@pytest.mark.parametrize("pairs", [("q", "d"), [("q",)], [("q", "d", "e")], ["qd"], [{"q": "d"}], None, "qd", 3])
def test_what_is_not_a_list_of_pairs_is_refused(pairs: Any) -> None:
    with pytest.raises(InputError, match="pair"):
        reranker().score(pairs)
    with pytest.raises(InputError, match="pair"):
        list(reranker().score_stream(pairs))


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
        reranker().rank("q", ["a"], **options)
    with pytest.raises(TypeError):
        reranker().rank("q", ["a"], topn=3)  # type: ignore[call-arg]


def test_str_subclasses_are_scored_as_the_text_they_hold() -> None:
    class Query(str, Enum):
        PANDA = "what is a giant panda?"

    assert reranker().score([(Query.PANDA, "a")]) == reranker().score([("what is a giant panda?", "a")])
    assert type(reranker().rank("q", [np.str_("x")], top_n=np.int64(1))[0].document) is str


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "int4"}, f"mode is one of {', '.join(MODES)}, not 'int4'"),
        ({"mode": 8}, "mode is one of"),
        ({"mode": "fp16"}, "'fp16' does not exist"),
        ({"mode": "half"}, 'for speed use mode="native-int8" or "onnx-int8"'),
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
