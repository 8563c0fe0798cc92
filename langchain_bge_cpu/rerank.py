"""The LangChain adapter: documents in, the best of them out, each with its score in its metadata."""

from collections.abc import Callable, Sequence
from types import EllipsisType
from typing import Any

from langchain_core.callbacks import AsyncCallbackManager, CallbackManager, Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables.config import ensure_config
from pydantic import Field, field_serializer
from pydantic.json_schema import SkipJsonSchema

from bge_cpu.adapters import CONFIG, Count, RankOptions, in_thread
from bge_cpu.documents import beside_score, checked, with_added
from bge_cpu.ranking import Ranked
from langchain_bge_cpu.writable import Writable

_Read = tuple[str, int | None, int]


class BgeCpuRerank(RankOptions, Writable, BaseDocumentCompressor):
    """Reranks documents with a cross-encoder on the CPU; safe to share between threads and tasks.

    What is returned are plain documents, copies with their score in `metadata["relevance_score"]`, a float; beside it
    `truncated_tokens` where some were cut off, and with `long_documents="windows"` the characters of the text that
    earned the score in `relevance_span`, [start, end].
    """

    model_config = CONFIG

    top_n: Count | None = Field(default=3, description="How many documents to return; None returns all.")
    document_text: list[str] | SkipJsonSchema[Callable[[Document], str]] | None = Field(
        default=None,
        description='What is read of a document. None: its text; names of metadata: these before it, as "title: ..." '
        "lines and an empty one; a function: what it returns of the document.",
    )

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
        documents = checked(documents, (Document,), "document")
        if not documents:
            return []
        manager = CallbackManager.configure(inheritable_callbacks=_running(callbacks))
        run = manager.on_chain_start(None, self._inputs(query), name=type(self).__name__)
        try:
            found = self._ranked(documents, query, self.top_n)
        except BaseException as error:
            run.on_chain_error(error)
            raise
        run.on_chain_end(_outputs(documents, found))
        return [_scored(documents, result) for result in found]

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """As `compress_documents`; the event loop goes on meanwhile, and cancelling the task stops the scoring."""
        documents = checked(documents, (Document,), "document")
        if not documents:
            return []
        manager = AsyncCallbackManager.configure(inheritable_callbacks=_running(callbacks))
        run = await manager.on_chain_start(None, self._inputs(query), name=type(self).__name__)
        try:
            read = await in_thread(lambda cancelled: [self._read(document) for document in documents])
            found = _results(read, await self.aranked(query, [text for text, *_ in read], self.top_n))
        except BaseException as error:
            await run.on_chain_error(error)
            raise
        await run.on_chain_end(_outputs(documents, found))
        return [_scored(documents, result) for result in found]

    def rerank(
        self, documents: Sequence[str | Document], query: str, *, top_n: int | EllipsisType | None = ...
    ) -> list[dict[str, Any]]:
        """Indices and scores alone, best first: [{"index": 2, "relevance_score": 0.98}, ...].

        Args:
            documents: Texts or documents.
            query: What is asked.
            top_n: How many to return; None returns all. Left out, it is the field `top_n`.
        """
        documents = checked(documents, (str, Document), "document")
        return self._ranked(documents, query, self.top_n if top_n is ... else top_n)

    def _ranked(
        self,
        documents: Sequence[str | Document],
        query: str,
        top_n: int | None,
    ) -> list[dict[str, Any]]:
        """The best documents, each by its index, score and what there is to say beside it."""
        read = [self._read(document) for document in documents]
        return _results(read, self.ranked(query, [text for text, *_ in read], top_n))

    def _read(self, document: str | Document) -> _Read:
        """What is read of a document, how many characters of it stand before its own text, and that one's length."""
        if isinstance(document, str):
            return document, 0, len(document)
        own, metadata = document.page_content, document.metadata
        if callable(self.document_text):
            return self.document_text(document), None, len(own)
        lines = [f"{key}: {metadata[key]}\n" for key in self.document_text or () if metadata.get(key) is not None]
        before = "".join([*lines, "\n"] if lines else lines)
        return before + own, len(before), len(own)

    def _inputs(self, query: str) -> dict[str, Any]:
        return {"query": query, "model": self.model_name, "mode": self.mode_name, "top_n": self.top_n}

    @field_serializer("document_text")
    def _refuse_function(self, document_text: list[str] | Callable[[Document], str] | None) -> list[str] | None:
        if callable(document_text):
            raise ValueError("a function as document_text cannot be written down: name metadata in its place")
        return document_text


def _running(callbacks: Callbacks) -> Callbacks:
    """The callbacks that were given, else those of the chain or graph that is running."""
    return ensure_config()["callbacks"] if callbacks is None else callbacks


def _results(read: Sequence[_Read], ranked: Sequence[Ranked]) -> list[dict[str, Any]]:
    """What was found: of each its index, its score and what there is to say beside it."""
    return [
        {"index": item.index, "relevance_score": item.score} | beside_score(item, *read[item.index][1:])
        for item in ranked
    ]


def _outputs(documents: Sequence[Document], found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"documents": [{"id": documents[result["index"]].id} | result for result in found]}


def _scored(documents: Sequence[Document], result: dict[str, Any]) -> Document:
    """A plain copy of a document, whatever class it came as, with its score."""
    document = documents[result["index"]]
    added = {key: value for key, value in result.items() if key != "index"}
    return Document(document.page_content, id=document.id, metadata=with_added(document.metadata, added))
