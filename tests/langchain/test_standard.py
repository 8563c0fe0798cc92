"""langchain-tests' own suite for retrievers, on a retriever that compresses with the adapter."""

from pathlib import Path
from typing import Any

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests

from langchain_bge_cpu import BgeCpuRerank

MODEL: list[Path] = []


@pytest.fixture(scope="module", autouse=True)
def _model(tiny_xlmr: Path) -> None:
    MODEL[:] = [tiny_xlmr]


class Words(BaseRetriever):
    """Ten documents, whatever is asked."""

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return [Document(f"document {number} on {query}") for number in range(10)]


class Reranked(ContextualCompressionRetriever):
    """Maps the suite's `k` to `top_n`, also where `invoke` is given one."""

    def __init__(self, k: int = 3, **kwargs: Any) -> None:
        compressor = BgeCpuRerank(model=str(MODEL[0]), mode="onnx", top_n=k)
        super().__init__(base_retriever=Words(), base_compressor=compressor, **kwargs)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None, **kwargs: Any
    ) -> list[Document]:
        if k is None:
            return super()._get_relevant_documents(query, run_manager=run_manager)
        return Reranked(k)._get_relevant_documents(query, run_manager=run_manager)


class TestReranked(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[Reranked]:
        return Reranked

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {}

    @property
    def retriever_query_example(self) -> str:
        return "which river runs through the town?"
