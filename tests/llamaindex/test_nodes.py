"""What the LlamaIndex adapter takes and gives: other classes of nodes, wrong ones, what is said beside the score."""

import copy
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import (
    Document,
    ImageDocument,
    ImageNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeWithScore,
    QueryBundle,
    TextNode,
)

from bge_cpu import InputError, Reranker
from llamaindex_bge_cpu import BgeCpuRerank

pytestmark = pytest.mark.filterwarnings("ignore:cut to max_length")

QUERY = "what is a panda?"
LONG = " ".join(f"bamboo {number}" for number in range(400))


class Retrieved(NodeWithScore):
    """A node with more to it than a score."""

    found_by: str = ""


def test_a_subclass_keeps_its_fields_and_the_callers_objects_theirs(tiny_reranker: Reranker) -> None:
    given: list[NodeWithScore] = [
        Retrieved(node=TextNode(text="a bear", metadata={"page": {"n": 1}}), score=0.25, found_by="bm25")
    ]
    before = copy.deepcopy(given)
    (found,) = BgeCpuRerank(reranker=tiny_reranker, keep_retrieval_score=True).postprocess_nodes(given, query_str=QUERY)
    assert isinstance(found, Retrieved) and found.found_by == "bm25"
    assert found.score == tiny_reranker.rank(QUERY, [before[0].get_content(MetadataMode.EMBED)])[0].score
    assert found.metadata == {"page": {"n": 1}, "retrieval_score": 0.25}
    found.metadata["page"]["n"] = 2
    assert given == before


def test_cut_nodes_say_so_beside_the_score(tiny_xlmr: Path) -> None:
    reranker = BgeCpuRerank(model=str(tiny_xlmr), mode="onnx", max_length=32)
    nodes = [NodeWithScore(node=TextNode(text=text, id_=str(index))) for index, text in enumerate(["a bear", LONG])]
    expected = {item.index: item.truncated_tokens for item in reranker.loaded().rank(QUERY, ["a bear", LONG])}
    found = {node.node_id: node for node in reranker.postprocess_nodes(nodes, query_str=QUERY)}
    assert found["0"].metadata == {} and found["1"].metadata == {"truncated_tokens": expected[1]}
    again = reranker.postprocess_nodes(list(found.values()), query_str=QUERY)
    assert {node.node_id: node for node in again} == found  # and no key is listed twice
    cut = found["1"].node
    assert cut.get_content(MetadataMode.EMBED) == cut.get_content(MetadataMode.LLM) == LONG


def test_what_an_earlier_reranker_said_goes(tiny_reranker: Reranker) -> None:
    node = TextNode(text="a bear", metadata={"truncated_tokens": 9, "relevance_span": [1, 2], "kept": 3})
    (found,) = BgeCpuRerank(reranker=tiny_reranker).postprocess_nodes([NodeWithScore(node=node)], query_str=QUERY)
    assert found.metadata == {"kept": 3} and "truncated_tokens" in node.metadata


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([TextNode(text="a")], "node 0 is a NodeWithScore, not TextNode"),
        ([NodeWithScore(node=TextNode(text="a")), ("b", 1)], "node 1 is a NodeWithScore, not tuple"),
        (["a"], "node 0 is a NodeWithScore, not str"),
        ("a", "nodes is a list of NodeWithScore, not str"),
        (NodeWithScore(node=TextNode(text="a")), "nodes is a list of NodeWithScore, not NodeWithScore"),
        (None, "nodes is a list of NodeWithScore, not NoneType"),
    ],
)
async def test_wrong_nodes_are_named(tiny_reranker: Reranker, given: Any, message: str) -> None:
    reranker = BgeCpuRerank(reranker=tiny_reranker)
    with pytest.raises(InputError, match=message):
        reranker.postprocess_nodes(given, query_str=QUERY)
    with pytest.raises(InputError, match=message):
        await reranker.apostprocess_nodes(given, query_str=QUERY)


def test_wrong_queries_are_named(tiny_reranker: Reranker) -> None:
    reranker, nodes = BgeCpuRerank(reranker=tiny_reranker), [NodeWithScore(node=TextNode(text="a"))]
    text: Any = QUERY
    number: Any = 5
    with pytest.raises(InputError, match="query is missing"):
        reranker.postprocess_nodes(nodes)
    with pytest.raises(InputError, match="query_bundle is a QueryBundle, not str\nhint: pass a text as query_str"):
        reranker.postprocess_nodes(nodes, text)
    with pytest.raises(InputError, match="query is a str, not int"):
        reranker.postprocess_nodes(nodes, QueryBundle(number))


@pytest.mark.parametrize(
    "node",
    [
        ImageNode(image_path="panda.png"),
        ImageNode(text=" ", image="aGk="),
        ImageDocument(image=b"aGk="),
        Node(image_resource=MediaResource(path=Path("panda.png")), extra_info={"title": "Panda"}),
        Node(audio_resource=MediaResource(data=b"growl")),
        Node(video_resource=MediaResource(path=Path("panda.mp4"))),
    ],
)
def test_media_without_text_are_refused(tiny_reranker: Reranker, node: Any) -> None:
    nodes = [NodeWithScore(node=TextNode(text="a")), NodeWithScore(node=node)]
    with pytest.raises(InputError, match=rf"node 1 \({type(node).__name__}\) holds media but no text"):
        BgeCpuRerank(reranker=tiny_reranker).postprocess_nodes(nodes, query_str=QUERY)


def test_media_with_text_or_metadata_and_empty_texts_are_scored(tiny_reranker: Reranker) -> None:
    given = [
        ImageNode(text="a bear", image_path="panda.png"),
        ImageNode(image_path="panda.png", metadata={"caption": "a bear"}),
        Node(text_resource=MediaResource(text="a bear"), image_resource=MediaResource(path=Path("panda.png"))),
        TextNode(text=""),
        Document(text=""),
    ]
    nodes = [NodeWithScore(node=node) for node in given]
    found = BgeCpuRerank(reranker=tiny_reranker, top_n=None).postprocess_nodes(nodes, query_str=QUERY)
    texts = ["a bear", "caption: a bear", "a bear", "", ""]
    assert [node.score for node in found] == [item.score for item in tiny_reranker.rank(QUERY, texts)]
