"""The model alone, in LangChain's own reranker."""

import pytest
from langchain_classic.retrievers.document_compressors import CrossEncoderReranker
from langchain_core.documents import Document

from bge_cpu import Reranker
from langchain_bge_cpu import BgeCpuCrossEncoder
from tests import fakes
from tests.checkpoints import text

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


def test_truncation_names_the_line_that_called() -> None:
    encoder = BgeCpuCrossEncoder(reranker=fakes.reranker(max_length=32))
    langchains = CrossEncoderReranker(model=encoder, top_n=2)
    pairs = [(QUERY, document.page_content) for document in documents()]
    for call in (lambda: encoder.score(pairs), lambda: langchains.compress_documents(documents(), QUERY)):
        with pytest.warns(UserWarning, match="cut to max_length=32 tokens") as caught:
            call()
        assert [warning.filename for warning in caught] == [__file__]
