"""40 short passages written for these examples, Chinese and English, with a trap for most: same words, no answer."""

import json
from pathlib import Path

PASSAGES = [
    json.loads(line) for line in Path(__file__).with_name("corpus.jsonl").read_text(encoding="utf-8").splitlines()
]
QUERY = "天空为什么是蓝色的?"
