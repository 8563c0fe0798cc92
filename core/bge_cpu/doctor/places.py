"""The doctor on where things come from and go to: the model, the Hub, the cache of INT8 artifacts."""

import os
import shutil
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path

from huggingface_hub import constants

from bge_cpu.checkpoint import open_checkpoint
from bge_cpu.checkpoint.record import RECORD
from bge_cpu.doctor.check import ARTIFACT, GB, OK, PROBLEM, WARNING, Check, is_large
from bge_cpu.engines import INT8_MODES
from bge_cpu.errors import CheckpointError
from bge_cpu.quantization.cache import artifacts


def from_hub(model: str) -> bool:
    """Whether a model is looked for on the Hub, rather than in a folder."""
    return model.count("/") == 1 and not model.startswith((".", "/", "~")) and not os.path.exists(model)


def checkpoint(mode: str, model: str) -> Check:
    """Whether the model's folder holds a checkpoint, or the Hub's cache holds the model; the Hub is not called."""
    try:
        opened = open_checkpoint(model, local_files_only=True)
    except CheckpointError as error:
        if from_hub(model):
            return Check("model", WARNING, f"{model} is not in the Hub's cache", "it must be downloaded first")
        return Check(
            "model",
            PROBLEM,
            str(error.args[0]),
            "no mode can load it",
            error.hint or "name a checkpoint folder or a Hub id",
        )
    found = model if model == str(opened.folder) else f"{model}: {opened.folder}"
    recorded = opened.exported_mode
    if recorded not in (None, mode):
        return Check(
            "model", PROBLEM, found, f"was exported for mode {recorded} and runs in no other", f"--mode {recorded}"
        )
    return Check("model", OK, found, "on this disk, whole" if recorded is None else f"exported for mode {recorded}")


def hub(endpoint: str, *, offline: bool, wanted: bool, missing: bool, seconds: float = 3) -> Check:
    """Whether the Hub answers. It never is a problem: a model may come from a folder or the Hub's cache.

    Args:
        endpoint: The Hub's address.
        offline: Whether it is not to be called.
        wanted: Whether the model is looked for there.
        missing: Whether it is not in the Hub's cache yet.
        seconds: How long to wait for an answer.
    """
    cache = str(constants.HF_HUB_CACHE)
    remedy = f"download elsewhere (hf download) and bring {cache}, or name a local folder"
    if offline:
        found = f"offline: HF_HUB_OFFLINE is set; cache: {cache}"
        if missing:
            return Check("Hub", WARNING, found, "the model cannot be downloaded", f"unset HF_HUB_OFFLINE, or {remedy}")
        return Check("Hub", OK, found, "not needed" if not wanted else "the cached model is used")
    silence = _silence(endpoint, seconds)
    if not silence:
        return Check("Hub", OK, f"{endpoint} answers; cache: {cache}")
    found = f"{endpoint} does not answer ({silence}); cache: {cache}"
    if missing:
        return Check("Hub", WARNING, found, "the model cannot be downloaded", f"check network and proxy, or {remedy}")
    if wanted:
        return Check("Hub", WARNING, found, "the cached model is used, after a vain call", "set HF_HUB_OFFLINE=1")
    return Check("Hub", OK, found, "not needed")


def _silence(endpoint: str, seconds: float) -> str:
    """Why the Hub did not answer a HEAD request in time; "" if it did."""
    outcome = [f"{seconds:g} s"]

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=seconds):
                outcome[0] = ""
        except urllib.error.HTTPError as error:
            outcome[0] = "" if error.code in (401, 404, 405) else f"HTTP {error.code}"
        except Exception as error:
            reason = getattr(error, "reason", error)
            outcome[0] = str(getattr(reason, "strerror", None) or reason) or type(error).__name__

    thread = threading.Thread(target=ask, daemon=True)  # a slow name server knows nothing of urlopen's timeout
    thread.start()
    thread.join(seconds + 0.5)
    return outcome[0]


def is_built(mode: str, model: str, cache: Path | None) -> bool:
    """Whether the cache, or the model's own folder if it was exported, holds what an INT8 mode has to build."""
    try:
        if os.path.exists(os.path.join(model, RECORD)):
            return True
        manifests = [manifest for _, manifest in artifacts(cache) if manifest] if cache is not None else []
    except OSError:
        return False
    return any((manifest.mode, manifest.model) == (mode, model) for manifest in manifests)


def artifact_cache(mode: str, model: str, cache: Path | None, *, built: bool) -> Check:
    """Whether INT8 artifacts can be kept: a folder that can be written, and room on its disk.

    Args:
        mode: The mode that is to run.
        model: The model that is to run.
        cache: The folder; None if the user has none.
        built: Whether the artifact of this mode and model is there already.
    """
    concerned = mode in INT8_MODES and not built
    worse = WARNING if concerned else OK
    purpose = "the INT8 artifact is built" if built else f"INT8 modes keep artifacts here, {ARTIFACT} GB each"
    again = "without it each start builds the artifact again"
    remedy = "set --cache-dir (cache_dir in Python) to a folder that can be written"
    if cache is None:
        return Check("INT8 cache", worse, "this user has no home folder", again, remedy)
    nearest = next((folder for folder in (cache, *cache.parents) if folder.exists()), cache)
    try:
        with tempfile.TemporaryFile(dir=nearest):
            free = shutil.disk_usage(nearest).free / GB
    except OSError as error:
        found = f"{cache} cannot be written: {error.strerror}"
        return Check("INT8 cache", worse, found, purpose if built else again, remedy if concerned else "")
    found = f"{cache}: {free:.1f} GB free"
    if free < ARTIFACT:
        status = PROBLEM if concerned and is_large(model) else worse
        return Check("INT8 cache", status, found, purpose, "make room, or set --cache-dir to another disk")
    return Check("INT8 cache", OK, found, purpose)
