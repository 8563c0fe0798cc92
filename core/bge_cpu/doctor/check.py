"""What the doctor says of one thing, and which mode needs what."""

from collections.abc import Iterable
from dataclasses import dataclass

OK, WARNING, PROBLEM = "ok", "warning", "problem"
GB = 1e9
# Peak resident GB for bge-reranker-v2-m3's shape on two threads, up to 512 tokens, tokenizer included; that of bf16 is
# from loading. The largest that benchmarks/results has, rounded up: a test compares them.
PEAKS = {"native-int8": 0.9, "onnx-int8": 1.2, "onnx": 1.9, "bf16": 4.1, "int8": 2.4, "fp32": 2.7}
BUILD_PEAK = 2.2  # while an INT8 artifact is compared with float32, once
ARTIFACT = 0.6


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: What was looked at.
        status: "ok", "warning", or "problem": the mode cannot run.
        found: What is there.
        meaning: What follows from it.
        remedy: What to do about it; "" where there is nothing to do.
    """

    name: str
    status: str
    found: str
    meaning: str = ""
    remedy: str = ""


def is_large(model: str) -> bool:
    """Whether a model is the one that the figures are for; others are taken to be smaller."""
    return "bge-reranker-v2-m3" in model.lower()


def listed(names: Iterable[str]) -> str:
    """Names as a list for the eye."""
    return ", ".join(names)
