"""bge-cpu in LangChain: a document compressor, and a cross-encoder for LangChain's own reranker."""

from bge_cpu.extras import needed

with needed("langchain", "langchain_bge_cpu"):
    from langchain_bge_cpu.cross_encoder import BgeCpuCrossEncoder
    from langchain_bge_cpu.rerank import BgeCpuRerank

__all__ = ["BgeCpuCrossEncoder", "BgeCpuRerank"]
