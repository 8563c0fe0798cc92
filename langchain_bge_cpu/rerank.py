"""The LangChain adapter: documents in, the best of them out, each with its score in its metadata."""

from collections.abc import Callable, Sequence
from types import EllipsisType
from typing import Any

from langchain_core.callbacks import AsyncCallbackManager, CallbackManager, Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import Field

from bge_cpu.adapters import CONFIG, Count, RankOptions, in_thread
from bge_cpu.ranking import Ranked
from langchain_bge_cpu.writable import Writable


class BgeCpuRerank(RankOptions, Writable, BaseDocumentCompressor):
    """Reranks documents with a cross-encoder on the CPU; safe to share between threads and tasks.

    The documents that are returned are copies with their score in `metadata["relevance_score"]`, a float, and with
    `long_documents="windows"` the characters that earned it in `metadata["relevance_span"]`, [start, end].
    """

    model_config = CONFIG

    top_n: Count | None = Field(default=3, description="How many documents to return; None returns all.")

    def model_post_init(self, context: Any) -> None:
        """Load, if that is asked for."""
        CallbackManager.configure()  # imports LangChain's tracers: a third of a second that no event loop should wait
        super().model_post_init(context)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """The `top_n` documents most relevant to the query, best first.

        Raises:
            BgeCpuError: What `Reranker.load` and `Reranker.rank` raise.
        """
        if not documents:
            return []
        manager = CallbackManager.configure(inheritable_callbacks=callbacks)
        run = manager.on_chain_start(None, self._inputs(query), name=type(self).__name__)
        try:
            ranked = self._ranked(documents, query)
        except BaseException as error:
            run.on_chain_error(error)
            raise
        run.on_chain_end(_outputs(ranked))
        return [_scored(documents[item.index], item) for item in ranked]

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """As `compress_documents`; the event loop goes on meanwhile, and cancelling the task stops the scoring."""
        if not documents:
            return []
        manager = AsyncCallbackManager.configure(inheritable_callbacks=callbacks)
        run = await manager.on_chain_start(None, self._inputs(query), name=type(self).__name__)
        try:
            ranked = await in_thread(lambda cancelled: self._ranked(documents, query, cancelled))
        except BaseException as error:
            await run.on_chain_error(error)
            raise
        await run.on_chain_end(_outputs(ranked))
        return [_scored(documents[item.index], item) for item in ranked]

    def rerank(
        self, documents: Sequence[str | Document], query: str, *, top_n: int | EllipsisType | None = ...
    ) -> list[dict[str, Any]]:
        """Indices and scores alone, best first: [{"index": 2, "relevance_score": 0.98}, ...].

        Args:
            documents: Texts or documents.
            query: What is asked.
            top_n: How many to return; None returns all. Left out, it is the field `top_n`.
        """
        texts = [document.page_content if isinstance(document, Document) else document for document in documents]
        ranked = self.ranked(query, texts, self.top_n if top_n is ... else top_n)
        return [{"index": item.index, "relevance_score": item.score} for item in ranked]

    def _ranked(
        self, documents: Sequence[Document], query: str, cancelled: Callable[[], bool] | None = None
    ) -> list[Ranked]:
        return self.ranked(query, [document.page_content for document in documents], self.top_n, cancelled)

    def _inputs(self, query: str) -> dict[str, Any]:
        return {"query": query, "model": self.model_name, "mode": self.mode_name, "top_n": self.top_n}


def _outputs(ranked: Sequence[Ranked]) -> dict[str, Any]:
    return {"scores": [item.score for item in ranked]}


def _scored(document: Document, item: Ranked) -> Document:
    """A copy of the document, its id and metadata kept, with its score."""
    added: dict[str, Any] = {"relevance_score": item.score}
    if item.span is not None:
        added["relevance_span"] = list(item.span)
    return document.model_copy(update={"metadata": document.metadata | added})
