"""bge-cpu: BAAI/bge-reranker-v2-m3 and its relatives on plain CPUs.

Example:
    >>> from bge_cpu import Reranker
    >>> reranker = Reranker.load("BAAI/bge-reranker-v2-m3")
    >>> reranker.rank("what is panda?", ["hi", "The giant panda is a bear native to China."])
"""

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
