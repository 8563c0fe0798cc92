"""What stands in the way of a mode on this machine: `examine` looks, judges and names remedies; it changes nothing.

Each function returns one `Check`. Frameworks are judged by their metadata; none is imported.
"""

import platform
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import constants

from bge_cpu.doctor import hardware, places, software
from bge_cpu.doctor.check import OK, PROBLEM, WARNING, Check
from bge_cpu.kernels.library import available
from bge_cpu.machine.cpu import available_cpus, cgroup_quota, features, int8_class
from bge_cpu.machine.memory import memory

__all__ = ["OK", "PROBLEM", "WARNING", "Check", "examine"]


def examine(
    mode: str,
    model: str,
    *,
    environ: Mapping[str, str],
    cache: Path | None,
    root: Path = Path("/"),
    machine: str | None = None,
    versions: Mapping[str, str] | None = None,
    endpoint: str = constants.ENDPOINT,
    offline: bool = constants.HF_HUB_OFFLINE,
) -> list[Check]:
    """Look at all that a mode needs in order to run a model here.

    Args:
        mode: One of `engines.MODES`.
        model: A Hub id, a checkpoint folder, or "mini".
        environ: The environment variables.
        cache: The folder of INT8 artifacts; None if the user has none.
        root: Where /proc and /sys lie.
        machine: The architecture; None means this machine's, as `platform.machine` names it.
        versions: Distributions and their versions; None means those that are installed.
        endpoint: The Hub's address.
        offline: Whether the Hub is not to be called.
    """
    versions = software.installed() if versions is None else versions
    built = places.is_built(mode, model, cache)
    threads = available_cpus(root)
    checkpoint = places.checkpoint(mode, model)
    return [
        hardware.processor(features(root), platform.machine() if machine is None else machine),
        hardware.int8(mode, int8_class(root)),
        hardware.native(mode, available()),
        hardware.bf16(mode, features(root)),
        hardware.cores(threads, cgroup_quota(root)),
        hardware.room(mode, model, memory(root), built=built),
        software.packages(versions),
        software.pytorch(mode, versions),
        software.keras(mode, versions, environ),
        software.environment(environ, threads),
        checkpoint,
        places.hub(endpoint, offline=offline, wanted=places.from_hub(model), missing=checkpoint.status == WARNING),
        places.artifact_cache(mode, model, cache, built=built),
    ]
