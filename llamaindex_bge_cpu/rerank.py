"""The LlamaIndex adapter: nodes in, the best of them out, with their scores."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle
from pydantic import Field

from bge_cpu.adapters import CONFIG, Count, RankOptions, in_thread
from bge_cpu.ranking import Ranked

dispatcher = get_dispatcher(__name__)


class BgeCpuRerank(RankOptions, BaseNodePostprocessor):
    """Reranks nodes with a cross-encoder on the CPU; safe to share between threads and tasks.

    Nodes come back under new scores and are the same objects, but for those that get metadata: these are copies, and
    the metadata that is added stays out of what models read.
    """

    model_config = CONFIG

    top_n: Count | None = Field(default=2, description="How many nodes to return; None returns all.")
    keep_retrieval_score: bool = Field(
        default=False, description='Keep the score that a node came with in metadata["retrieval_score"].'
    )
    metadata_mode: MetadataMode = Field(
        default=MetadataMode.EMBED, description="Which metadata are scored along with a node's text."
    )

    @classmethod
    def class_name(cls) -> str:
        """Its name in `to_dict`."""
        return "BgeCpuRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query = _query(query_bundle)
        if not nodes:
            return []
        with self._announced(nodes, query) as reranked:
            reranked += self._reranked(nodes, query)
        return reranked

    @dispatcher.span
    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query = _query(query_bundle)
        if not nodes:
            return []
        with self._announced(nodes, query) as reranked:
            reranked += await in_thread(lambda cancelled: self._reranked(nodes, query, cancelled))
        return reranked

    def _reranked(
        self, nodes: list[NodeWithScore], query: str, cancelled: Callable[[], bool] | None = None
    ) -> list[NodeWithScore]:
        texts = [node.node.get_content(metadata_mode=self.metadata_mode) for node in nodes]
        return [self._scored(nodes[item.index], item) for item in self.ranked(query, texts, self.top_n, cancelled)]

    def _scored(self, node: NodeWithScore, item: Ranked) -> NodeWithScore:
        added: dict[str, Any] = {"retrieval_score": node.score} if self.keep_retrieval_score else {}
        if item.span is not None:
            before = max(0, item.document.find(node.node.get_content(metadata_mode=MetadataMode.NONE)))  # metadata
            added["relevance_span"] = [max(0, place - before) for place in item.span]
        return NodeWithScore(node=_with_metadata(node.node, added) if added else node.node, score=item.score)

    @contextmanager
    def _announced(self, nodes: list[NodeWithScore], query: str) -> Iterator[list[NodeWithScore]]:
        """Tell LlamaIndex's handlers of both kinds of the start, and of the end, also when scoring raises."""
        reranked: list[NodeWithScore] = []
        start: dict[str, Any] = {EventPayload.NODES: nodes, EventPayload.MODEL_NAME: self.model_name}
        start |= {EventPayload.QUERY_STR: query, EventPayload.TOP_K: self.top_n}
        with self.callback_manager.event(CBEventType.RERANKING, payload=start) as event:
            top_n = len(nodes) if self.top_n is None else self.top_n
            dispatcher.event(ReRankStartEvent(query=query, nodes=nodes, top_n=top_n, model_name=self.model_name))
            try:
                yield reranked
            finally:
                dispatcher.event(ReRankEndEvent(nodes=reranked))
            event.on_end(payload={EventPayload.NODES: reranked})


def _query(bundle: QueryBundle | None) -> str:
    if bundle is None:
        raise ValueError("the query is missing: pass query_bundle or query_str")
    return bundle.query_str


def _with_metadata(node: BaseNode, added: dict[str, Any]) -> BaseNode:
    """A copy of the node with more metadata, which embedding models and LLMs do not get to read."""
    return node.model_copy(
        update={
            "metadata": node.metadata | added,
            "excluded_embed_metadata_keys": [*node.excluded_embed_metadata_keys, *added],
            "excluded_llm_metadata_keys": [*node.excluded_llm_metadata_keys, *added],
        }
    )
