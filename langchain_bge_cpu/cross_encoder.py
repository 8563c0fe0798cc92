"""The model alone, for LangChain's own `CrossEncoderReranker`."""

from typing import Literal

from langchain_core.cross_encoders import BaseCrossEncoder
from pydantic import Field

from bge_cpu.adapters import CONFIG, RerankerOptions
from langchain_bge_cpu.writable import Writable


class BgeCpuCrossEncoder(RerankerOptions, Writable, BaseCrossEncoder):
    """Scores (query, document) pairs with a cross-encoder on the CPU."""

    model_config = CONFIG

    normalize: Literal["sigmoid"] | None = Field(default="sigmoid", description='"sigmoid" 0..1, or None: raw logits.')

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        """One score per pair, in input order; its errors are those of `Reranker.load` and `Reranker.score`."""
        return (self.remote() or self.loaded()).score(text_pairs, normalize=self.normalize)
