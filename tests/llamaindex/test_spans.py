"""Where the part that earned the score stands in a node's own text, whatever its template made of text and metadata."""

from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import (
    Document,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeWithScore,
    TextNode,
)

from llamaindex_bge_cpu import BgeCpuRerank

QUERY = "what is a panda?"


class Loud(TextNode):
    """Puts its text together in its own way."""

    def get_content(self, metadata_mode: MetadataMode = MetadataMode.NONE) -> str:
        return super().get_content(metadata_mode).upper()


class Dated(TextNode):
    """Has metadata of its own."""

    def get_metadata_str(self, mode: MetadataMode = MetadataMode.ALL) -> str:
        return "1869"


@pytest.fixture(scope="module")
def options(tiny_xlmr: Path) -> dict[str, Any]:
    return {"model": str(tiny_xlmr), "mode": "onnx", "long_documents": "windows"}


FACTS: dict[str, Any] = {"metadata": {"title": "Giant panda facts"}}


@pytest.mark.parametrize(
    ("node", "span"),
    [
        (TextNode(text="Giant panda", **FACTS), [0, 11]),  # also found in the metadata
        (TextNode(text="Giant panda"), [0, 11]),
        (TextNode(text="Giant panda \n", **FACTS), [0, 11]),  # the end is stripped
        (TextNode(text="\n Giant panda"), [0, 13]),  # without metadata nothing is stripped
        (TextNode(text=" Giant panda", text_template="{content}\n{metadata_str}", **FACTS), [1, 12]),
        (TextNode(text="Giant panda", text_template="{content} ({metadata_str})", **FACTS), [0, 11]),
        (TextNode(text="panda", text_template="{{{metadata_str}}} {metadata_str}: {content}!", **FACTS), [0, 5]),
        (TextNode(text="panda", text_template="  {content}", **FACTS), [0, 5]),
        (TextNode(text="panda", metadata_template="{value} {{key}}", metadata_separator="; ", **FACTS), [0, 5]),
        (TextNode(text="panda", text_template="{content} or {content}, {metadata_str}", **FACTS), None),
        (TextNode(text="panda", text_template="{content!r}, {metadata_str}", **FACTS), None),
        (TextNode(text="panda", text_template="{content:.2}, {metadata_str}", **FACTS), None),
        (TextNode(text="panda", text_template="{{content}} {metadata_str}", **FACTS), None),
        (TextNode(text="", **FACTS), [0, 0]),
        (TextNode(text="panda", excluded_embed_metadata_keys=["title"], **FACTS), [0, 5]),
        (IndexNode(text="panda", index_id="i", **FACTS), [0, 5]),
        (ImageNode(text="panda", image_url="file:///panda.png", **FACTS), [0, 5]),
        (Document(text="Giant panda ", **FACTS), [0, 11]),
        (
            Node(text_resource=MediaResource(text="panda"), metadata_template="{value}", extra_info={"title": " "}),
            [0, 5],
        ),
        (Loud(text="panda", **FACTS), None),
        (Dated(text="panda", **FACTS), [0, 5]),
    ],
)
def test_span_in_the_nodes_own_text(options: dict[str, Any], node: Any, span: list[int] | None) -> None:
    (found,) = BgeCpuRerank(**options).postprocess_nodes([NodeWithScore(node=node)], query_str=QUERY)
    assert found.metadata.get("relevance_span") == span
    (bare,) = BgeCpuRerank(**options, metadata_mode=MetadataMode.NONE).postprocess_nodes(
        [NodeWithScore(node=node)], query_str=QUERY
    )
    own = node.get_content(metadata_mode=MetadataMode.NONE)
    assert bare.metadata.get("relevance_span") == (None if isinstance(node, Loud) else [0, len(own)])


def test_white_space_at_the_end_of_a_long_text(options: dict[str, Any]) -> None:
    text = "hi" + " " * 905 + "hi "  # 910 characters and few tokens
    node = TextNode(text=text, metadata={"summary": "hi" + " " * 965 + "hi"})
    (found,) = BgeCpuRerank(**options).postprocess_nodes([NodeWithScore(node=node)], query_str=QUERY)
    assert found.metadata["relevance_span"] == [0, 909]  # a search for the text says [979, 1888]


def test_windows_of_a_long_text(options: dict[str, Any]) -> None:
    text = " ".join(f"bamboo {number}" for number in range(400))
    node = TextNode(text=text, metadata={"title": "bamboo 7"}, text_template="{metadata_str}: {content}")
    reranker = BgeCpuRerank(**options, max_length=64)
    (found,) = reranker.postprocess_nodes([NodeWithScore(node=node)], query_str=QUERY)
    (item,) = reranker.loaded().rank(QUERY, [f"title: bamboo 7: {text}"], long_documents="windows")
    assert item.span is not None
    assert found.metadata["relevance_span"] == [max(0, place - len("title: bamboo 7: ")) for place in item.span]
