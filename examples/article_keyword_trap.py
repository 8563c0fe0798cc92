"""The article's keyword trap: a foot spa shares its word with the question, but answers nothing."""

import argparse

from bge_cpu import Reranker

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default="mini")  # for the full model: default="BAAI/bge-reranker-v2-m3"
model = parser.parse_args().model

reranker = Reranker.load(model)
question = "如何治疗糖尿病足?"
documents = [
    "足疗店提供全身按摩服务,包括足部精油护理,缓解疲劳。",
    "胰岛素注射是控制血糖的重要手段之一,需遵医嘱使用。",
    "糖尿病足患者应注意足部清洁,避免感染,定期检查皮肤破损。",
]

print(question)
for item in reranker.rank(question, documents, normalize="softmax"):
    print(f"{item.score:.3f}  {item.document}")
