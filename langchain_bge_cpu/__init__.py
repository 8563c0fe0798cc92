"""bge-cpu in LangChain: a document compressor, and a cross-encoder for LangChain's own reranker."""

from bge_cpu.errors import MissingDependencyError

try:
    from langchain_bge_cpu.cross_encoder import BgeCpuCrossEncoder
    from langchain_bge_cpu.rerank import BgeCpuRerank
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("langchain_core", "pydantic"):
        raise
    raise MissingDependencyError(
        f"langchain_bge_cpu needs {error.name}, which is not installed", hint="pip install 'bge-cpu[langchain]'"
    ) from error

__all__ = ["BgeCpuCrossEncoder", "BgeCpuRerank"]
