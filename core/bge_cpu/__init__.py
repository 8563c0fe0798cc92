"""bge-cpu: BAAI/bge-reranker-v2-m3 and its relatives on plain CPUs.

Example:
    >>> from bge_cpu import Reranker
    >>> reranker = Reranker.load("BAAI/bge-reranker-v2-m3")
    >>> reranker.rank("what is panda?", ["hi", "The giant panda is a bear native to China."])
"""

import importlib
from typing import TYPE_CHECKING

from bge_cpu.errors import (
    ArtifactError,
    BgeCpuError,
    CheckpointError,
    FidelityError,
    InputError,
    MissingDependencyError,
    ServiceError,
)
from bge_cpu.ranking import Ranked, Ranking
from bge_cpu.reranker import Reranker

__all__ = [
    "ArtifactError",
    "BgeCpuError",
    "CheckpointError",
    "FidelityError",
    "InputError",
    "MissingDependencyError",
    "Ranked",
    "Ranking",
    "Reranker",
    "ServiceError",
]

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> str:
        """`__version__`, looked up when it is asked for: importlib.metadata would slow every import."""
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return importlib.import_module("importlib.metadata").version("bge-cpu")
