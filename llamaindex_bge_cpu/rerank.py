"""The LlamaIndex adapter: nodes in, the best of them out, with their scores."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, MetadataMode, Node, NodeWithScore, QueryBundle, TextNode
from pydantic import Field

from bge_cpu.adapters import CONFIG, Count, RankOptions
from bge_cpu.documents import BESIDE_SCORE, beside_score, checked, with_added
from bge_cpu.errors import InputError
from bge_cpu.inputs import check_text
from bge_cpu.ranking import Ranked

dispatcher = get_dispatcher(__name__)

_MEDIA = ("image", "image_path", "image_url", "image_resource", "audio_resource", "video_resource")


class BgeCpuRerank(RankOptions, BaseNodePostprocessor):
    """Reranks nodes with a cross-encoder on the CPU; safe to share between threads and tasks.

    Nodes come back under new scores and are the same objects, but for those that get metadata: these are copies, and
    the metadata that is added stays out of what models read. It is `truncated_tokens` where some were cut off, and with
    `long_documents="windows"` the characters of the node's own text that earned the score in `relevance_span`,
    [start, end], where a node's class and template let it be known.
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
        query, nodes = _query(query_bundle), checked(nodes, (NodeWithScore,), "node")
        if not nodes:
            return []
        texts = self._texts(nodes)
        with self._announced(nodes, query) as reranked:
            ranked = self.ranked(query, texts, self.top_n)
            reranked += [self._scored(nodes[item.index], item) for item in ranked]
        return reranked

    @dispatcher.span
    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query, nodes = _query(query_bundle), checked(nodes, (NodeWithScore,), "node")
        if not nodes:
            return []
        texts = self._texts(nodes)
        with self._announced(nodes, query) as reranked:
            ranked = await self.aranked(query, texts, self.top_n)
            reranked += [self._scored(nodes[item.index], item) for item in ranked]
        return reranked

    def _texts(self, nodes: list[NodeWithScore]) -> list[str]:
        """What is scored of each node."""
        texts = [node.node.get_content(metadata_mode=self.metadata_mode) for node in nodes]
        for index, (node, text) in enumerate(zip(nodes, texts, strict=True)):
            if not (text and text.strip()) and any(getattr(node.node, name, None) for name in _MEDIA):
                raise InputError(
                    f"node {index} ({type(node.node).__name__}) holds media but no text: there is nothing to score",
                    hint="give it a caption as its text, or take such nodes out before they are reranked",
                )
        return texts

    def _scored(self, node: NodeWithScore, item: Ranked) -> NodeWithScore:
        added: dict[str, Any] = {"retrieval_score": node.score} if self.keep_retrieval_score else {}
        own = node.node.get_content(metadata_mode=MetadataMode.NONE)
        added |= beside_score(item, _before(node.node, own, self.metadata_mode), len(own))
        outdated = not BESIDE_SCORE.isdisjoint(node.node.metadata)
        scored = _with_metadata(node.node, added) if added or outdated else node.node
        return node.model_copy(update={"node": scored, "score": item.score})

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
        raise InputError("the query is missing: pass query_bundle or query_str")
    if not isinstance(bundle, QueryBundle):
        raise InputError(f"query_bundle is a QueryBundle, not {type(bundle).__name__}", hint="pass a text as query_str")
    return check_text(bundle.query_str, "query")


def _before(node: BaseNode, own: str, mode: MetadataMode) -> int | None:
    """How many characters stand before a node's own text in what its `get_content` puts together; None if unknown.

    It does there what LlamaIndex does. Below 0 where white space at the beginning of the text itself is cut off.
    """
    if not isinstance(node, TextNode | Node) or type(node).get_content not in (TextNode.get_content, Node.get_content):
        return None  # a class that puts its text together in its own way
    metadata = node.get_metadata_str(mode=mode)
    metadata = metadata.strip() if isinstance(node, TextNode) else metadata
    if mode == MetadataMode.NONE or not metadata:
        return 0
    head, content, tail = node.text_template.partition("{content}")
    try:
        before, after = head.format(metadata_str=metadata), tail.format(metadata_str=metadata)
    except (LookupError, ValueError):  # the text stands there twice, or in braces
        return None
    whole = before + own + after
    return len(before) - (len(whole) - len(whole.lstrip())) if content else None


def _with_metadata(node: BaseNode, added: dict[str, Any]) -> BaseNode:
    """A copy of the node with more metadata, which embedding models and LLMs do not get to read."""
    embed, llm = node.excluded_embed_metadata_keys, node.excluded_llm_metadata_keys
    return node.model_copy(
        update={
            "metadata": with_added(node.metadata, added),
            "excluded_embed_metadata_keys": [*embed, *(key for key in added if key not in embed)],
            "excluded_llm_metadata_keys": [*llm, *(key for key in added if key not in llm)],
        }
    )
