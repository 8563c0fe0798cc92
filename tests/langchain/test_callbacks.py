"""Reranks are seen by the callbacks of the chain or graph that they run in, though nobody hands them over."""

import sys
from typing import Any
from uuid import UUID

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda

from bge_cpu import Reranker
from langchain_bge_cpu import BgeCpuRerank

QUERY = "what is a panda?"
DOCUMENTS = [Document("a river", id="first"), Document("a bear"), Document("bamboo", id="third")]


class Recorder(BaseCallbackHandler):
    """The runs, by name: which run each stood under, and what it gave."""

    def __init__(self) -> None:
        self.names: dict[UUID, str] = {}
        self.parents: dict[str, str | None] = {}
        self.outputs: dict[str, Any] = {}
        self.tags: dict[str, Any] = {}

    def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: UUID, parent_run_id: Any = None, **kwargs: Any
    ) -> None:
        self.names[run_id] = kwargs["name"]
        self.parents[kwargs["name"]] = self.names.get(parent_run_id)
        self.tags[kwargs["name"]] = kwargs["tags"]

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self.outputs[self.names[run_id]] = outputs


@pytest.fixture
def compressor(tiny_reranker: Reranker) -> BgeCpuRerank:
    return BgeCpuRerank(reranker=tiny_reranker)


def expected(reranker: Reranker) -> dict[str, Any]:
    ids = ["first", None, "third"]
    ranking = reranker.rank(QUERY, [document.page_content for document in DOCUMENTS])
    return {
        "documents": [{"id": ids[item.index], "index": item.index, "relevance_score": item.score} for item in ranking]
    }


def test_in_a_chain(compressor: BgeCpuRerank, tiny_reranker: Reranker) -> None:
    recorder = Recorder()
    chain: RunnableLambda[str, Any] = RunnableLambda(
        lambda query: compressor.compress_documents(DOCUMENTS, query), name="mine"
    )
    chain.invoke(QUERY, config={"callbacks": [recorder], "tags": ["tagged"]})
    assert recorder.parents == {"mine": None, "BgeCpuRerank": "mine"}
    assert recorder.outputs["BgeCpuRerank"] == expected(tiny_reranker)
    assert "tagged" in recorder.tags["BgeCpuRerank"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio hands contexts on from 3.11")
async def test_in_an_asynchronous_chain(compressor: BgeCpuRerank, tiny_reranker: Reranker) -> None:
    async def mine(query: str) -> list[Document]:
        return await compressor.acompress_documents(DOCUMENTS, query)

    async def sync_within(query: str) -> list[Document]:
        return compressor.compress_documents(DOCUMENTS, query)

    for function in (mine, sync_within):
        recorder = Recorder()
        await RunnableLambda(function).ainvoke(QUERY, config={"callbacks": [recorder]})
        assert recorder.parents == {function.__name__: None, "BgeCpuRerank": function.__name__}
        assert recorder.outputs["BgeCpuRerank"] == expected(tiny_reranker)


async def test_streamed_events_show_it(compressor: BgeCpuRerank, tiny_reranker: Reranker) -> None:
    chain: RunnableLambda[str, Any] = RunnableLambda(lambda query: compressor.compress_documents(DOCUMENTS, query))
    events = [event async for event in chain.astream_events(QUERY, version="v2") if event["name"] == "BgeCpuRerank"]
    assert [event["event"] for event in events] == ["on_chain_start", "on_chain_end"]
    assert events[0]["data"]["input"]["query"] == QUERY
    assert events[1]["data"]["output"] == expected(tiny_reranker)


def test_in_a_graphs_node(compressor: BgeCpuRerank, tiny_reranker: Reranker) -> None:
    graph = pytest.importorskip("langgraph.graph")

    def node(state: dict[str, Any]) -> dict[str, Any]:
        return {"found": compressor.compress_documents(DOCUMENTS, QUERY)}

    builder = graph.StateGraph(dict)
    builder.add_node("rerank", node)
    builder.set_entry_point("rerank")
    recorder = Recorder()
    builder.compile().invoke({}, config={"callbacks": [recorder]})
    assert recorder.parents["BgeCpuRerank"] == "rerank"
    assert recorder.outputs["BgeCpuRerank"] == expected(tiny_reranker)


def test_callbacks_that_are_given_go_first(compressor: BgeCpuRerank) -> None:
    running, given = Recorder(), Recorder()
    chain: RunnableLambda[str, Any] = RunnableLambda(
        lambda query: compressor.compress_documents(DOCUMENTS, query, callbacks=[given])
    )
    chain.invoke(QUERY, config={"callbacks": [running]})
    assert list(given.parents) == ["BgeCpuRerank"] and "BgeCpuRerank" not in running.parents
    compressor.compress_documents(DOCUMENTS, QUERY)  # and where nothing runs, none are looked for
