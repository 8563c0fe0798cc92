"""What the LangChain adapter takes and gives: plain documents, what is said beside the score, metadata read along."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from langchain_classic.retrievers.document_compressors import DocumentCompressorPipeline
from langchain_core.documents import BaseDocumentTransformer, Document
from langchain_core.load import dumpd, load
from llama_index.core.schema import NodeWithScore, TextNode
from pydantic import Field, ValidationError

import llamaindex_bge_cpu
from bge_cpu import InputError, Reranker
from langchain_bge_cpu import BgeCpuRerank

pytestmark = pytest.mark.filterwarnings("ignore:The function `load` is in beta", "ignore:cut to max_length")

QUERY = "what is a panda?"
LONG = " ".join(f"bamboo {number}" for number in range(400))


class WithState(Document):
    """What `EmbeddingsFilter` and its kin of langchain-community hand on (`_DocumentWithState`)."""

    state: dict[str, Any] = Field(default_factory=dict)


class Embedded(BaseDocumentTransformer):
    """Does to documents what those filters do."""

    def transform_documents(self, documents: Any, **kwargs: Any) -> list[Document]:
        return [WithState(**document.model_dump(), state={"embedded": np.ones(3)}) for document in documents]


def test_after_a_filter_by_embeddings_the_results_are_plain_documents(tiny_reranker: Reranker) -> None:
    given = [Document(text, id=text, metadata={"source": {"page": 1}}) for text in ("a bear", "a river")]
    pipeline = DocumentCompressorPipeline(transformers=[Embedded(), BgeCpuRerank(reranker=tiny_reranker)])
    found = pipeline.compress_documents(given, QUERY)
    assert [type(document) for document in found] == [Document, Document]
    assert {document.id for document in found} == {"a bear", "a river"}
    for document in found:
        written = {"id": document.id, "metadata": document.metadata, "page_content": document.id, "type": "Document"}
        assert json.loads(orjson.dumps(document.model_dump())) == written


def test_a_graphs_checkpointer_stores_the_results(tiny_reranker: Reranker) -> None:
    graph = pytest.importorskip("langgraph.graph")
    memory = pytest.importorskip("langgraph.checkpoint.memory")
    compressor = BgeCpuRerank(reranker=tiny_reranker)

    def node(state: dict[str, Any]) -> dict[str, Any]:
        found = compressor.compress_documents(Embedded().transform_documents(state["documents"]), QUERY)
        return {"documents": found}

    builder = graph.StateGraph(dict)
    builder.add_node("rerank", node)
    builder.set_entry_point("rerank")
    compiled = builder.compile(checkpointer=memory.InMemorySaver())
    thread = {"configurable": {"thread_id": "one"}}
    result = compiled.invoke({"documents": [Document("a bear", metadata={"source": {"page": 1}})]}, thread)
    assert compiled.get_state(thread).values == result
    assert type(result["documents"][0]) is Document


def test_nested_metadata_are_not_shared_with_the_input(tiny_reranker: Reranker) -> None:
    given = Document("a bear", metadata={"source": {"pages": [1, 2]}})
    before = copy.deepcopy(given)
    (found,) = BgeCpuRerank(reranker=tiny_reranker).compress_documents([given], QUERY)
    found.metadata["source"]["pages"].append(3)
    assert given == before


def test_cut_documents_say_so_beside_the_score(tiny_xlmr: Path) -> None:
    compressor = BgeCpuRerank(model=str(tiny_xlmr), mode="onnx", max_length=32, top_n=None)
    texts = ["a bear", LONG]
    expected = {item.index: item.truncated_tokens for item in compressor.loaded().rank(QUERY, texts)}
    found = compressor.compress_documents([Document(text, id=str(index)) for index, text in enumerate(texts)], QUERY)
    cut = {document.id: document.metadata.get("truncated_tokens") for document in found}
    assert cut == {"0": None, "1": expected[1]} and expected[1] > 700
    assert {item["index"]: item.get("truncated_tokens") for item in compressor.rerank(texts, QUERY)} == {
        0: None,
        1: expected[1],
    }
    (again,) = compressor.compress_documents([Document("a bear", metadata={"truncated_tokens": 9})], QUERY)
    assert set(again.metadata) == {"relevance_score"}  # what an earlier reranker said holds no longer


def test_metadata_are_read_along_as_llamaindex_does(tiny_reranker: Reranker) -> None:
    records: list[tuple[str, dict[str, Any]]] = [
        ("a bear", {"title": "Panda", "year": 1869, "n": 1}),
        ("it flows", {"title": "Rivers", "year": None}),
    ]
    documents = [Document(text, metadata=metadata) for text, metadata in records]
    nodes = [
        NodeWithScore(node=TextNode(text=text, metadata={k: v for k, v in metadata.items() if v and k != "n"}))
        for text, metadata in records
    ]
    theirs = llamaindex_bge_cpu.BgeCpuRerank(reranker=tiny_reranker).postprocess_nodes(nodes, query_str=QUERY)
    found = BgeCpuRerank(reranker=tiny_reranker, document_text=["title", "year", "missing"]).compress_documents(
        documents, QUERY
    )
    scores = [document.metadata["relevance_score"] for document in found]
    assert scores == [node.score for node in theirs]
    assert {document.page_content for document in found} == {"a bear", "it flows"}
    texts = ["title: Panda\nyear: 1869\n\na bear", "title: Rivers\n\nit flows"]
    assert scores == [item.score for item in tiny_reranker.rank(QUERY, texts)]
    bare = BgeCpuRerank(reranker=tiny_reranker).compress_documents(documents, QUERY)
    assert scores != [document.metadata["relevance_score"] for document in bare]


def test_a_function_says_what_is_read_of_a_document(tiny_reranker: Reranker) -> None:
    compressor = BgeCpuRerank(reranker=tiny_reranker, document_text=lambda found: found.metadata["summary"])
    given = [Document("x", metadata={"summary": "a bear"}), Document("y", metadata={"summary": "a river"})]
    ranking = tiny_reranker.rank(QUERY, ["a bear", "a river"])
    found = compressor.compress_documents(given, QUERY)
    assert [(document.page_content, document.metadata["relevance_score"]) for document in found] == [
        ("xy"[item.index], item.score) for item in ranking
    ]
    assert [item["relevance_score"] for item in compressor.rerank([*given, "a bear"], QUERY, top_n=1)] == [
        ranking[0].score
    ]
    wrong = BgeCpuRerank(reranker=tiny_reranker, document_text=lambda found: found.metadata["n"])
    with pytest.raises(InputError, match="document 0 is a str, not int"):
        wrong.compress_documents([Document("x", metadata={"n": 5})], QUERY)


def test_a_span_counts_in_the_documents_own_text(tiny_xlmr: Path) -> None:
    options: dict[str, Any] = {"model": str(tiny_xlmr), "mode": "onnx", "long_documents": "windows"}
    (found,) = BgeCpuRerank(**options, document_text=["title"]).compress_documents(
        [Document("Giant panda", metadata={"title": "Giant panda facts"})], QUERY
    )
    assert found.metadata["relevance_span"] == [0, 11]
    compressor = BgeCpuRerank(**options, max_length=64, document_text=["title"])
    (found,) = compressor.compress_documents([Document(LONG, metadata={"title": "Panda"})], QUERY)
    (item,) = compressor.loaded().rank(QUERY, [f"title: Panda\n\n{LONG}"], long_documents="windows")
    assert item.span is not None
    assert found.metadata["relevance_span"] == [max(0, place - len("title: Panda\n\n")) for place in item.span]


def test_a_function_leaves_no_span(tiny_reranker: Reranker) -> None:
    compressor = BgeCpuRerank(
        reranker=tiny_reranker, long_documents="windows", document_text=lambda document: document.page_content
    )
    (found,) = compressor.compress_documents([Document("a bear")], QUERY)
    assert set(found.metadata) == {"relevance_score"}


def text_of(document: Document) -> str:
    return document.page_content.upper()


def test_names_are_written_down_and_functions_are_not(tiny_xlmr: Path) -> None:
    names: Any = ("title",)
    named = BgeCpuRerank(model=str(tiny_xlmr), document_text=names)
    assert named.document_text == ["title"]
    assert BgeCpuRerank(**json.loads(named.model_dump_json())) == named
    assert load(dumpd(named), allowed_objects=[BgeCpuRerank], valid_namespaces=["langchain_bge_cpu"]) == named
    function = BgeCpuRerank(model=str(tiny_xlmr), document_text=text_of)
    assert pickle.loads(pickle.dumps(function)) == function == copy.deepcopy(function)
    with pytest.raises(ValueError, match="a function as document_text cannot be written down: name metadata"):
        function.model_dump_json()
    with pytest.raises(NotImplementedError, match="text_of"):
        load(dumpd(function), allowed_objects=[BgeCpuRerank], valid_namespaces=["langchain_bge_cpu"])
    with pytest.raises(ValidationError, match="document_text"):
        BgeCpuRerank(document_text=names[0])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([("a", "b")], "document 0 is a Document, not tuple"),
        ([Document("a"), "b"], "document 1 is a Document, not str"),
        ("text", "documents is a list of Document, not str"),
        (Document("a"), "documents is a list of Document, not Document"),
        (None, "documents is a list of Document, not NoneType"),
    ],
)
async def test_wrong_documents_are_named(tiny_reranker: Reranker, given: Any, message: str) -> None:
    compressor = BgeCpuRerank(reranker=tiny_reranker)
    with pytest.raises(InputError, match=message):
        compressor.compress_documents(given, QUERY)
    with pytest.raises(InputError, match=message):
        await compressor.acompress_documents(given, QUERY)


def test_rerank_takes_texts_and_documents_and_names_what_is_neither(tiny_reranker: Reranker) -> None:
    compressor = BgeCpuRerank(reranker=tiny_reranker)
    given: Any
    for given in ("text", [("a", "b")], [b"text"]):
        with pytest.raises(InputError, match=r"str or Document, not"):
            compressor.rerank(given, QUERY)
    given = iter(["a", Document("b")])
    assert len(compressor.rerank(given, QUERY)) == 2
    given = iter([Document("b")])
    assert len(compressor.compress_documents(given, QUERY)) == 1
