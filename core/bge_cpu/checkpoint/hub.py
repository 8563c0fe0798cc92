"""Part of step 1: a Hub id -> the folder of one commit in the Hub's own cache.

huggingface_hub does the work (and shows the progress of a download); this module decides when it may call out: never
when told so or when HF_HUB_OFFLINE is set, and never for a pinned commit that is cached.
"""

import re
from pathlib import Path

from huggingface_hub import HfApi, constants, errors, snapshot_download
from huggingface_hub.utils import validate_repo_id

from bge_cpu.checkpoint.record import RECORD
from bge_cpu.errors import CheckpointError, warn

_COMMIT = re.compile(r"[0-9a-f]{40}")
_FILES = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
    RECORD,  # these three are in exported folders only
    "manifest.json",
    "fidelity.json",
]


def fetch(repo: str, *, revision: str | None, local_files_only: bool) -> tuple[Path, str]:
    """The snapshot folder of a checkpoint and its commit, downloaded if it is not in the Hub's cache.

    When the Hub cannot be reached, the cached state of the revision is used and a warning says so.

    Raises:
        CheckpointError: The checkpoint is neither cached nor to be had from the Hub.
    """
    try:
        validate_repo_id(repo)
    except errors.HFValidationError as error:
        raise CheckpointError(f"{repo!r} is neither a folder nor a Hub id: {_first_line(error)}") from error
    offline = local_files_only or constants.HF_HUB_OFFLINE
    pinned = revision is not None and _COMMIT.fullmatch(revision) is not None
    if offline or pinned:
        cached = _cached(repo, revision)
        if cached:
            return cached
    if offline:
        why = "local_files_only is set" if local_files_only else "HF_HUB_OFFLINE is set"
        raise CheckpointError(
            f"{repo} (revision {revision or 'main'}) is not in the Hub's cache, and {why}",
            hint=f"download it on a machine with network: hf download {repo}; or name a local folder",
        )
    try:
        if not pinned:
            HfApi().model_info(repo, revision=revision)  # an unreachable Hub shows here; below it would pass unnoticed
        folder = Path(snapshot_download(repo, revision=revision, allow_patterns=_FILES))
        return folder, folder.name
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.GatedRepoError) as error:
        raise CheckpointError(
            f"the Hub refused {repo} (revision {revision or 'main'}): {_first_line(error)}",
            hint="check the id and the revision; for a gated or private model log in with: hf auth login",
        ) from error
    except (OSError, errors.HTTPError) as error:
        cached = _cached(repo, revision)
        if cached is None:
            raise CheckpointError(
                f"{repo} is not whole in the Hub's cache, and the Hub did not deliver it: {_first_line(error)}",
                hint="check the network, or name a local folder",
            ) from error
        warn(f"the Hub did not answer ({_first_line(error)}); using the cached commit {cached[1]} of {repo}")
        return cached


def _cached(repo: str, revision: str | None) -> tuple[Path, str] | None:
    """The snapshot folder of a revision and its commit, if its files are all in the cache."""
    try:
        folder = snapshot_download(repo, revision=revision, local_files_only=True, allow_patterns=_FILES)
    except OSError:  # not there, or only a part of it
        return None
    snapshot = Path(folder)
    whole = (snapshot / "config.json").exists() and any(snapshot.glob("model*.safetensors"))
    return (snapshot, snapshot.name) if whole else None


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
