"""Ray Serve: the service's own ASGI application, in replicas that Ray starts, checks and scales."""

from typing import Any

from ray import serve

from bge_cpu.service.resident import Resident
from bge_cpu.service.settings import Settings

_SHUTDOWN_SECONDS = 20.0


def application(
    load: dict[str, Any], *, cpus: int, min_replicas: int, max_replicas: int, ongoing_requests: float
) -> serve.Application:
    """The application; the arguments are those of `bge_cpu.ray.serve_app`."""
    scaled = {
        "min_replicas": min_replicas,
        "max_replicas": max_replicas,
        "target_ongoing_requests": ongoing_requests,
    }
    replicas: dict[str, Any] = {"autoscaling_config": scaled} if max_replicas > min_replicas else {}
    deployment = serve.deployment(
        serve.ingress(Resident(Settings(load=load, processes=min_replicas)))(),
        name="bge-cpu",
        num_replicas=None if replicas else min_replicas,
        ray_actor_options={"num_cpus": cpus},
        graceful_shutdown_timeout_s=_SHUTDOWN_SECONDS,
        **replicas,
    )
    return deployment.bind()
