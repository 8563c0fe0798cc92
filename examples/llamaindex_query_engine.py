"""A LlamaIndex query engine with the reranker as its postprocessor. The LLM is a mock that repeats its prompt."""

import argparse

from corpus import PASSAGES, QUERY
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from bge_cpu.evaluation.bm25 import Bm25
from llamaindex_bge_cpu import BgeCpuRerank

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default="mini")  # for the full model: default="BAAI/bge-reranker-v2-m3"
parser.add_argument("--query", default=QUERY)
options = parser.parse_args()


class Bm25Retriever(BaseRetriever):
    """The ten nodes that share most with the query's words."""

    def __init__(self) -> None:
        self._nodes = [TextNode(text=passage["text"], id_=passage["id"]) for passage in PASSAGES]
        self._index = Bm25([node.text for node in self._nodes])
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = self._index.search(query_bundle.query_str, 10)
        return [NodeWithScore(node=self._nodes[index], score=score) for index, score in found]


engine = RetrieverQueryEngine.from_args(
    Bm25Retriever(),
    llm=MockLLM(),
    node_postprocessors=[BgeCpuRerank(model=options.model, top_n=2, keep_retrieval_score=True)],
)
response = engine.query(options.query)
print(options.query, "\n\nscore, BM25's score, text:")
for node in response.source_nodes:
    print(f" {node.score:.3f} {node.metadata['retrieval_score']:6.2f}  {node.text}")
print("\nthe LLM was asked:\n", response)
