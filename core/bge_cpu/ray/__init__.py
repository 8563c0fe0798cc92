"""The same reranker on a Ray cluster: over data sets, for whole files in shards, and behind HTTP.

Each actor or replica holds one loaded reranker with as many threads as it has CPUs; on a node they share the mapped
weights through the page cache. Every node has bge-cpu installed, and the model is one that all of them can load: a Hub
id, "mini", or a folder that lies in the same place everywhere.
"""

import importlib
from typing import TYPE_CHECKING, Any

from bge_cpu import extras
from bge_cpu.inputs import DEFAULT_MIN_FIDELITY, DEFAULT_MODEL

with extras.needed("ray", "bge_cpu.ray"):
    from bge_cpu.ray.data import RerankBatch
    from bge_cpu.ray.workers import RayWorkers

if TYPE_CHECKING:
    from ray.serve import Application

__all__ = ["RayWorkers", "RerankBatch", "serve_app"]


def serve_app(
    model: str = DEFAULT_MODEL,
    *,
    mode: str | None = None,
    max_length: int | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
    cache_dir: str | None = None,
    min_fidelity: float | None = DEFAULT_MIN_FIDELITY,
    cpus: int = 1,
    min_replicas: int = 1,
    max_replicas: int = 1,
    ongoing_requests: float = 2.0,
) -> "Application":
    """A Ray Serve application with the endpoints of `bge-cpu serve`: `ray.serve.run(serve_app("mini"))`.

    Args:
        model: As in `Reranker.load`, like all options up to `min_fidelity`.
        mode: The mode.
        max_length: Tokens per pair at most; None means 512, or less if the model takes less.
        revision: A Hub branch, tag or commit.
        local_files_only: Never call the Hub.
        cache_dir: Where INT8 artifacts are kept.
        min_fidelity: What an INT8 mode's gate asks for.
        cpus: CPUs of a replica; its reranker has as many threads.
        min_replicas: How many replicas there are at least.
        max_replicas: How many there are at most; above `min_replicas`, Ray Serve starts and stops them with the load.
        ongoing_requests: How many requests a replica should have at a time, on average; Ray Serve scales by it.

    Raises:
        MissingDependencyError: The service's packages are not installed.
    """
    load: dict[str, Any] = {
        "model": model,
        "mode": mode,
        "max_length": max_length,
        "threads": cpus,
        "revision": revision,
        "local_files_only": local_files_only,
        "cache_dir": cache_dir,
        "min_fidelity": min_fidelity,
    }
    with extras.needed("service", "bge_cpu.ray.serve_app"):
        serving = importlib.import_module("bge_cpu.ray.serving")
    return serving.application(
        load, cpus=cpus, min_replicas=min_replicas, max_replicas=max_replicas, ongoing_requests=ongoing_requests
    )
