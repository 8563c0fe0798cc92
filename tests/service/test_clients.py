"""Clients that people already have, against a live server."""

import gc
from typing import Any

import httpx
import pytest

from tests.service.serving import BASIC, SECONDS, TRAP, Service

pytestmark = [
    pytest.mark.model,
    pytest.mark.parametrize(("query", "documents"), [BASIC, TRAP], ids=["basic", "trap"]),
]


@pytest.mark.parametrize("client", ["Client", "ClientV2"])
def test_cohere(service: Service, client: str, query: str, documents: list[str]) -> None:
    cohere = pytest.importorskip("cohere", reason="needs cohere")
    with httpx.Client(timeout=SECONDS, trust_env=False) as http:
        spoken: Any = getattr(cohere, client)(api_key="none", base_url=service.url, httpx_client=http)
        answer = spoken.rerank(model="rerank-v3.5", query=query, documents=documents, top_n=1)
    assert [result.index for result in answer.results] == [1]
    assert 0 < answer.results[0].relevance_score < 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its connection open
def test_langchain_cohere(service: Service, query: str, documents: list[str]) -> None:
    langchain_cohere = pytest.importorskip("langchain_cohere", reason="needs langchain-cohere")
    from langchain_core.documents import Document

    reranker = langchain_cohere.CohereRerank(model="rerank-v3.5", cohere_api_key="none", base_url=service.url, top_n=1)
    (best,) = reranker.compress_documents([Document(text, id=text) for text in documents], query)
    assert best.page_content == documents[1]
    assert 0 < best.metadata["relevance_score"] < 1
    del reranker
    gc.collect()


def test_llamaindex_tei(service: Service, query: str, documents: list[str]) -> None:
    tei = pytest.importorskip(
        "llama_index.postprocessor.tei_rerank", reason="needs llama-index-postprocessor-tei-rerank"
    )
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

    reranker = tei.TextEmbeddingInference(base_url=service.url, top_n=1)
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in documents]
    (best,) = reranker.postprocess_nodes(nodes, QueryBundle(query))
    assert best.node.get_content() == documents[1]


def test_infinity(service: Service, query: str, documents: list[str]) -> None:
    """As InfinityRerank of langchain_community sends it."""
    body = {"query": query, "documents": documents, "model": "BAAI/bge-reranker-base", "return_documents": False}
    answer = httpx.post(f"{service.url}/rerank", json=body, timeout=60, trust_env=False).json()
    best = max(answer["results"], key=lambda result: result["relevance_score"])
    assert best["index"] == 1
