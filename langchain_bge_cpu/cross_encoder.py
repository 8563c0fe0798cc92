"""The model alone, for LangChain's own `CrossEncoderReranker`."""

from typing import Literal

from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.load.serializable import Serializable
from pydantic import Field

from bge_cpu.adapters import CONFIG, RerankerOptions


class BgeCpuCrossEncoder(RerankerOptions, Serializable, BaseCrossEncoder):
    """Scores (query, document) pairs with a cross-encoder on the CPU."""

    model_config = CONFIG

    normalize: Literal["sigmoid"] | None = Field(default="sigmoid", description='"sigmoid" 0..1, or None: raw logits.')

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Its options can be written down with `dumpd`."""
        return True

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Where `load` finds this class."""
        return ["langchain_bge_cpu"]

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        """One score per pair, in input order; its errors are those of `Reranker.load` and `Reranker.score`."""
        return self.loaded().score(text_pairs, normalize=self.normalize)
