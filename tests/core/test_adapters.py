"""What both adapters share, in real processes: forked, spawned, pickled; equality and schemas."""

import contextlib
import os
import pickle
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import langchain_bge_cpu
import llamaindex_bge_cpu
from bge_cpu import InputError, Reranker
from bge_cpu.adapters import RankOptions
from bge_cpu.documents import beside_score, checked, with_added
from bge_cpu.ranking import Ranked

ADAPTERS = [langchain_bge_cpu.BgeCpuRerank, langchain_bge_cpu.BgeCpuCrossEncoder, llamaindex_bge_cpu.BgeCpuRerank]
DOCUMENTS = ["a panda eats bamboo", "a river runs through the town", "hi"]

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
quietly = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


def forked(call: Callable[[], object]) -> str:
    """What a call gives in a forked child, as text; the child is killed after half a minute."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        signal.alarm(30)
        with contextlib.suppress(BaseException):
            try:
                answer = call()
            except BaseException as error:
                answer = error
            os.write(writer, str(answer).encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as pipe:
        said = pipe.read()
    assert os.waitpid(child, 0)[1] == 0, "the child hung"
    return said


@forks
@quietly
def test_a_loaded_adapter_loads_again_in_a_forked_child_once_and_says_so(tiny_xlmr: Path) -> None:
    adapter = RankOptions(model=str(tiny_xlmr), mode="onnx", preload=True)
    expected = adapter.ranked("q", DOCUMENTS, None)
    copied = adapter.model_copy(deep=True)

    def child() -> object:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            same = [one.ranked("q", DOCUMENTS, None) == expected for one in (adapter, adapter, copied)]
            once = adapter.loaded() is adapter.loaded() is copied.loaded()
        return same, once, [str(warning.message) for warning in caught]

    said = f"this process was forked after {tiny_xlmr} was loaded, so it was loaded again here"
    assert forked(child) == str(([True, True, True], True, [said]))
    assert adapter.ranked("q", DOCUMENTS, None) == expected  # and the parent goes on as before


@forks
@quietly
def test_an_adapter_in_a_forked_child_does_not_wait_for_a_load_of_the_parents(
    tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, loading, go_on = Reranker.load, threading.Event(), threading.Event()

    def slow(**options: Any) -> Reranker:
        loading.set()
        go_on.wait(60)
        return load(**options)

    monkeypatch.setattr(Reranker, "load", slow)
    thread = threading.Thread(target=RankOptions(model=str(tiny_xlmr), mode="onnx").loaded)
    thread.start()
    loading.wait(60)
    monkeypatch.setattr(Reranker, "load", load)
    try:
        said = forked(lambda: len(RankOptions(model=str(tiny_xlmr), mode="onnx").ranked("q", DOCUMENTS, None)))
    finally:
        go_on.set()
        thread.join()
    assert said == "3"


@pytest.fixture
def options(tiny_xlmr: Path) -> Iterator[dict[str, Any]]:
    yield {"model": str(tiny_xlmr), "mode": "onnx"}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_equal_options_make_equal_adapters(adapter: Any, options: dict[str, Any], tiny_reranker: Reranker) -> None:
    used = adapter(**options)
    used.loaded()
    assert used == adapter(**options) and adapter(**options) == used
    assert used == used.model_copy() == pickle.loads(pickle.dumps(used))
    assert used != adapter(**options, max_length=64)
    assert used != adapter(**options, normalize=None)
    assert used != RankOptions(**options)
    assert used != options
    shared = adapter(reranker=tiny_reranker)
    assert shared == adapter(reranker=tiny_reranker) != adapter(reranker=Reranker.load(**options))


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_schema_names_the_options_that_json_can_hold(adapter: Any) -> None:
    schema = adapter.model_json_schema()
    assert schema["properties"]["model"]["default"] == "BAAI/bge-reranker-v2-m3"
    assert set(adapter.model_fields) - set(schema["properties"]) == {"reranker"}
    assert adapter.model_json_schema(mode="serialization")["type"] == "object"


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_with_a_shared_reranker_is_pickled_if_that_can_be(adapter: Any, tiny_reranker: Reranker) -> None:
    read = pickle.loads(pickle.dumps(adapter(reranker=tiny_reranker)))
    pairs = [("q", document) for document in DOCUMENTS]
    assert read.loaded() is read.reranker is not tiny_reranker
    assert read.loaded().score(pairs) == tiny_reranker.score(pairs)
    with pytest.raises(Exception, match="put together from parts cannot be pickled"):
        pickle.dumps(adapter(reranker=Reranker(tiny_reranker.tokenizer, tiny_reranker.engine)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("text", "nodes is a list of int, not str"),
        ({1: 2}, "nodes is a list of int, not dict"),
        (None, "nodes is a list of int, not NoneType"),
        (RankOptions(), "nodes is a list of int, not RankOptions"),
        ([1, "2"], "node 1 is a int, not str"),
        ([(1,)], "node 0 is a int, not tuple"),
    ],
)
def test_checked_names_what_is_wrong(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        checked(given, (int,), "node")
    assert checked(iter([1, 2]), (int,), "node") == [1, 2]


def test_beside_the_score_stands_only_what_there_is_to_say() -> None:
    assert beside_score(Ranked(0, 0.5, "text", 0), 0, 4) == {}
    assert beside_score(Ranked(0, 0.5, "text", 3), 0, 4) == {"truncated_tokens": 3}
    assert beside_score(Ranked(0, 0.5, "text", 0, (0, 4)), None, 4) == {}
    assert beside_score(Ranked(0, 0.5, "title: text more", 0, (3, 16)), 7, 4) == {"relevance_span": [0, 4]}
    assert beside_score(Ranked(0, 0.5, "title: text more", 0, (9, 16)), 7, 20) == {"relevance_span": [2, 9]}


def test_metadata_is_copied_deep_and_old_findings_go() -> None:
    metadata = {"page": {"number": 1}, "relevance_span": [1, 2], "truncated_tokens": 3}
    added = with_added(metadata, {"relevance_score": 0.5})
    assert added == {"page": {"number": 1}, "relevance_score": 0.5}
    added["page"]["number"] = 2
    assert metadata == {"page": {"number": 1}, "relevance_span": [1, 2], "truncated_tokens": 3}
    with pytest.raises(InputError, match=r"metadata cannot be copied: cannot pickle '_thread.lock' object"):
        with_added({"lock": threading.Lock()}, {})
