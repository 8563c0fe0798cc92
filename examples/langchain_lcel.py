"""The reranker in an LCEL chain: retrieve, rerank, prompt, model, string. The chat model is a fake and needs no key."""

import argparse

from corpus import PASSAGES, QUERY
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from bge_cpu.evaluation.bm25 import Bm25
from langchain_bge_cpu import BgeCpuRerank

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default="mini")  # for the full model: default="BAAI/bge-reranker-v2-m3"
parser.add_argument("--query", default=QUERY)
options = parser.parse_args()

index = Bm25([passage["text"] for passage in PASSAGES])
compressor = BgeCpuRerank(model=options.model, top_n=2)


def retrieve(query: str) -> list[Document]:
    """The ten passages that share most with the query's words."""
    return [Document(PASSAGES[found]["text"]) for found, _ in index.search(query, 10)]


def rerank(query: str) -> str:
    """The two best of them, as one text."""
    documents = compressor.compress_documents(retrieve(query), query)
    return "\n".join(document.page_content for document in documents)


prompt = ChatPromptTemplate.from_template("Answer from this context:\n{context}\n\nQuestion: {question}")
model = FakeListChatModel(responses=["(the answer of a real chat model, put in this one's place, would stand here)"])
chain = {"context": RunnableLambda(rerank), "question": RunnablePassthrough()} | prompt
print(chain.invoke(options.query).to_string(), "\n")
print((chain | model | StrOutputParser()).invoke(options.query))
