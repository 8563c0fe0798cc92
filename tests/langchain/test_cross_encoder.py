"""The model alone, in LangChain's own reranker."""

import pytest
from langchain_core.documents import Document

from bge_cpu import Reranker
from langchain_bge_cpu import BgeCpuCrossEncoder
from tests.checkpoints import text

pytestmark = pytest.mark.filterwarnings("ignore:The function `load` is in beta")
QUERY = "which river runs through the town?"


def documents(count: int = 6) -> list[Document]:
    return [
        Document(text(10 + 7 * number, number), id=f"id-{number}", metadata={"source": {"page": number}, "n": number})
        for number in range(count)
    ]


def test_cross_encoder_scores_as_the_core_does(tiny_reranker: Reranker) -> None:
    pairs = [(QUERY, document.page_content) for document in documents()]
    assert BgeCpuCrossEncoder(reranker=tiny_reranker, normalize=None).score(pairs) == tiny_reranker.score(pairs)
    scores = BgeCpuCrossEncoder(reranker=tiny_reranker).score(pairs)
    assert scores == tiny_reranker.score(pairs, normalize="sigmoid")
    assert BgeCpuCrossEncoder(reranker=tiny_reranker).score([]) == []
