"""A LangChain retriever before and after: BM25 finds the words, the reranker finds the answer."""

import argparse

from corpus import PASSAGES, QUERY
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from bge_cpu.evaluation.bm25 import Bm25
from langchain_bge_cpu import BgeCpuRerank

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default="mini")  # for the full model: default="BAAI/bge-reranker-v2-m3"
parser.add_argument("--query", default=QUERY)
options = parser.parse_args()

DOCUMENTS = [Document(passage["text"], id=passage["id"]) for passage in PASSAGES]
INDEX = Bm25([document.page_content for document in DOCUMENTS])


class Bm25Retriever(BaseRetriever):
    """The ten documents that share most with the query's words."""

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return [DOCUMENTS[index] for index, _ in INDEX.search(query, 10)]


before = Bm25Retriever()
after = ContextualCompressionRetriever(
    base_retriever=before, base_compressor=BgeCpuRerank(model=options.model, top_n=3)
)

print(options.query, "\n\nBM25:")
for document in before.invoke(options.query)[:3]:
    print("      ", document.page_content)
print("\nreranked:")
for document in after.invoke(options.query):
    print(f" {document.metadata['relevance_score']:.3f} ", document.page_content)
