"""The LlamaIndex adapter in real query engines, under real event handlers."""

import asyncio
import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload, LlamaDebugHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode
from pydantic import ValidationError

from bge_cpu import InputError, Reranker
from llamaindex_bge_cpu import BgeCpuRerank
from tests import fakes
from tests.checkpoints import text

QUERY = "which river runs through the town?"


def nodes(count: int = 6) -> list[NodeWithScore]:
    return [
        NodeWithScore(
            node=TextNode(
                text=text(10 + 7 * number, number), id_=f"id-{number}", metadata={"source": {"page": number}}
            ),
            score=number / 10,
        )
        for number in range(count)
    ]


class Fixed(BaseRetriever):
    """Finds the same nodes for every query."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return nodes()


class Events(BaseEventHandler):
    """The rerank events, in order."""

    seen: list[BaseEvent] = []  # noqa: RUF012 (a pydantic field)

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        if isinstance(event, ReRankStartEvent | ReRankEndEvent):
            self.seen.append(event)


@pytest.fixture
def events() -> Iterator[list[BaseEvent]]:
    root, handler = get_dispatcher(), Events(seen=[])
    root.add_event_handler(handler)
    yield handler.seen
    root.event_handlers.remove(handler)


@pytest.fixture
def spans() -> Iterator[SimpleSpanHandler]:
    root, handler = get_dispatcher(), SimpleSpanHandler()
    root.add_span_handler(handler)
    yield handler
    root.span_handlers.remove(handler)


def test_same_scores_as_the_core_to_the_bit(tiny_reranker: Reranker) -> None:
    given = nodes()
    ranking = tiny_reranker.rank(QUERY, [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in given])
    reranked = BgeCpuRerank(reranker=tiny_reranker, top_n=None).postprocess_nodes(given, query_str=QUERY)
    assert [(node.node_id, node.score) for node in reranked] == [
        (given[item.index].node_id, item.score) for item in ranking
    ]
    ranking = tiny_reranker.rank(QUERY, [node.text for node in given])
    bare = BgeCpuRerank(reranker=tiny_reranker, top_n=None, metadata_mode=MetadataMode.NONE)
    assert [node.score for node in bare.postprocess_nodes(given, query_str=QUERY)] == [item.score for item in ranking]


def test_inputs_stay_as_they_were_and_results_are_json(tiny_reranker: Reranker) -> None:
    given = nodes()
    before = copy.deepcopy(given)
    reranker = BgeCpuRerank(reranker=tiny_reranker, keep_retrieval_score=True, long_documents="windows")
    reranked = reranker.postprocess_nodes(given, query_str=QUERY)
    assert given == before
    assert len(reranked) == 2
    for node in reranked:
        original = given[int(node.node_id[-1])]
        assert node.metadata == {
            "source": {"page": int(node.node_id[-1])},
            "retrieval_score": original.score,
            "relevance_span": [0, len(node.text)],
        }
        for mode in (MetadataMode.EMBED, MetadataMode.LLM):  # models read what they read before
            assert node.node.get_content(metadata_mode=mode) == original.node.get_content(metadata_mode=mode)
        assert json.loads(node.to_json())["score"] == node.score
        assert json.loads(json.dumps(node.to_dict())) == node.to_dict()
        assert json.loads(node.model_dump_json())


def test_without_metadata_to_add_nodes_are_not_copied(tiny_reranker: Reranker) -> None:
    given = nodes()
    reranked = BgeCpuRerank(reranker=tiny_reranker).postprocess_nodes(given, query_str=QUERY)
    assert all(node.node is given[int(node.node_id[-1])].node for node in reranked)


def test_span_counts_in_the_nodes_own_text(tiny_xlmr: Path) -> None:
    long = text(3000, 3)
    node = NodeWithScore(node=TextNode(text=long, metadata={"title": "a long report"}))
    options: dict[str, Any] = {"model": str(tiny_xlmr), "mode": "onnx", "max_length": 128, "long_documents": "windows"}
    (reranked,) = BgeCpuRerank(**options).postprocess_nodes([node], query_str=QUERY)
    start, end = reranked.metadata["relevance_span"]
    assert 0 <= start < end <= len(long)
    content = node.node.get_content(metadata_mode=MetadataMode.EMBED)
    ranked = Reranker.load(tiny_xlmr, mode="onnx", max_length=128).rank(QUERY, [content], long_documents="windows")[0]
    assert ranked.span is not None
    assert content[slice(*ranked.span)].endswith(long[start:end])


def test_no_nodes_no_events_and_no_query_is_an_error(tiny_reranker: Reranker, events: list[BaseEvent]) -> None:
    reranker = BgeCpuRerank(reranker=tiny_reranker)
    assert reranker.postprocess_nodes([], query_str=QUERY) == []
    assert asyncio.run(reranker.apostprocess_nodes([], query_str=QUERY)) == []
    with pytest.raises(ValueError, match="query is missing"):
        reranker.postprocess_nodes(nodes())
    assert events == []


def test_empty_text_is_kept(tiny_reranker: Reranker) -> None:
    empty = [NodeWithScore(node=TextNode(text="", metadata={"kept": 3}))]
    (node,) = BgeCpuRerank(reranker=tiny_reranker).postprocess_nodes(empty, query_str=QUERY)
    assert node.text == "" and node.metadata == {"kept": 3} and 0 < node.get_score() < 1


@pytest.mark.parametrize("asynchronous", [False, True])
def test_one_start_and_one_end(
    tiny_reranker: Reranker, events: list[BaseEvent], spans: SimpleSpanHandler, asynchronous: bool
) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    reranker = BgeCpuRerank(reranker=tiny_reranker, top_n=None, callback_manager=CallbackManager([debug]))
    if asynchronous:
        reranked = asyncio.run(reranker.apostprocess_nodes(nodes(), query_str=QUERY))
    else:
        reranked = reranker.postprocess_nodes(nodes(), query_str=QUERY)
    start, end = events
    assert isinstance(start, ReRankStartEvent) and isinstance(end, ReRankEndEvent)
    assert (start.query, start.top_n, start.model_name) == (QUERY, 6, tiny_reranker.model)
    assert [node.score for node in end.nodes] == [node.score for node in reranked]
    ((began, ended),) = debug.get_event_pairs(CBEventType.RERANKING)
    assert set(began.payload or {}) == {
        EventPayload.NODES,
        EventPayload.MODEL_NAME,
        EventPayload.QUERY_STR,
        EventPayload.TOP_K,
    }
    assert ended.payload == {EventPayload.NODES: reranked}
    name = "_apostprocess_nodes" if asynchronous else "_postprocess_nodes"
    assert [span.id_.split("-")[0] for span in spans.completed_spans] == [f"BgeCpuRerank.{name}"]
    assert start.span_id == spans.completed_spans[0].id_


@pytest.mark.parametrize("asynchronous", [False, True])
def test_one_start_and_one_end_also_when_scoring_raises(
    tiny_reranker: Reranker, events: list[BaseEvent], asynchronous: bool
) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    reranker = BgeCpuRerank(reranker=tiny_reranker, callback_manager=CallbackManager([debug]))
    with pytest.raises(InputError, match="query is empty"):
        if asynchronous:
            asyncio.run(reranker.apostprocess_nodes(nodes(), query_str=" "))
        else:
            reranker.postprocess_nodes(nodes(), query_str=" ")
    assert [type(event) for event in events] == [ReRankStartEvent, ReRankEndEvent]
    ((_, ended),) = debug.get_event_pairs(CBEventType.RERANKING)
    assert isinstance((ended.payload or {})[EventPayload.EXCEPTION], InputError)


def test_query_engine(tiny_xlmr: Path) -> None:
    reranker = BgeCpuRerank(model=tiny_xlmr, mode="onnx")  # type: ignore[arg-type]  # a Path will do
    engine = RetrieverQueryEngine.from_args(Fixed(), llm=MockLLM(), node_postprocessors=[reranker])
    expected = [node.node_id for node in reranker.postprocess_nodes(nodes(), query_str=QUERY)]
    answer = engine.query(QUERY)
    assert [node.node_id for node in answer.source_nodes] == expected
    assert QUERY in str(answer)
    answer = asyncio.run(engine.aquery(QUERY))
    assert [node.node_id for node in answer.source_nodes] == expected


def test_written_down_and_read_back(tiny_xlmr: Path) -> None:
    reranker = BgeCpuRerank(
        model=str(tiny_xlmr), mode="onnx", top_n=None, keep_retrieval_score=True, metadata_mode=MetadataMode.LLM
    )
    expected = reranker.postprocess_nodes(nodes(), query_str=QUERY)
    for other in (
        BgeCpuRerank.from_dict(reranker.to_dict()),
        BgeCpuRerank.from_json(reranker.to_json()),
        pickle.loads(pickle.dumps(reranker)),
        copy.deepcopy(reranker),
    ):
        assert other.to_dict() == reranker.to_dict()
        assert other.postprocess_nodes(nodes(), query_str=QUERY) == expected


def test_a_shared_reranker_is_not_written_down(tiny_reranker: Reranker) -> None:
    reranker = BgeCpuRerank(reranker=tiny_reranker)
    with pytest.raises(ValueError, match="cannot be written down"):
        reranker.to_dict()


@pytest.mark.parametrize(
    "options", [{"top_n": 0}, {"top_n": -2}, {"top_k": 2}, {"score_threshold": 2}, {"metadata_mode": "some"}]
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(options))):
        BgeCpuRerank(**options)


def test_truncation_names_the_line_that_called() -> None:
    reranker = BgeCpuRerank(reranker=fakes.reranker(max_length=32))
    engine = RetrieverQueryEngine.from_args(Fixed(), llm=MockLLM(), node_postprocessors=[reranker])
    for call in (
        lambda: reranker.postprocess_nodes(nodes(), query_str=QUERY),
        lambda: reranker.postprocess_nodes(nodes(), query_bundle=QueryBundle(QUERY)),
        lambda: engine.query(QUERY),
    ):
        with pytest.warns(UserWarning, match="cut to max_length=32 tokens") as caught:
            call()
        assert [warning.filename for warning in caught] == [__file__]


def test_needs_llamaindex_and_says_so() -> None:
    script = "import sys; sys.modules['llama_index'] = None\ntry: import llamaindex_bge_cpu\n"
    script += "except ImportError as error: print(type(error).__name__, error)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert "MissingDependencyError" in done.stdout and "pip install 'bge-cpu[llamaindex]'" in done.stdout, done.stderr


def test_imports_neither_torch_nor_langchain() -> None:
    script = "import sys; sys.modules['langchain_core'] = None\nimport llamaindex_bge_cpu\n"
    script += "print([name for name in ('torch', 'transformers', 'onnxruntime') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr
