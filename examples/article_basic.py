"""The article's basic check: the right answer scores above a wrong one."""

import argparse

from bge_cpu import Reranker

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default="mini")  # for the full model: default="BAAI/bge-reranker-v2-m3"
model = parser.parse_args().model

reranker = Reranker.load(model)
question = "什么是人工智能?"
documents = ["人工智能是让机器模拟人类智能行为的技术。", "苹果是一种水果,富含维生素C。"]

print(question)
for document, logit in zip(documents, reranker.score([(question, document) for document in documents]), strict=True):
    print(f"{logit:7.3f}  {document}")
