"""bge-cpu in LlamaIndex: a node postprocessor."""

from bge_cpu.extras import needed

with needed("llamaindex", "llamaindex_bge_cpu"):
    from llamaindex_bge_cpu.rerank import BgeCpuRerank

__all__ = ["BgeCpuRerank"]
