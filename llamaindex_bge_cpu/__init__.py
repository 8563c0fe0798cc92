"""bge-cpu in LlamaIndex: a node postprocessor."""

from bge_cpu.errors import MissingDependencyError

try:
    from llamaindex_bge_cpu.rerank import BgeCpuRerank
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("llama_index", "pydantic"):
        raise
    raise MissingDependencyError(
        f"llamaindex_bge_cpu needs {error.name}, which is not installed", hint="pip install 'bge-cpu[llamaindex]'"
    ) from error

__all__ = ["BgeCpuRerank"]
