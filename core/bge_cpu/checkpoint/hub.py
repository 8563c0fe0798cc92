"""Part of loading: a Hub id -> the folder of one commit in the Hub's own cache.

huggingface_hub does the work (and shows the progress of a download); this module decides when it may call out: never
when told so or when HF_HUB_OFFLINE is set, and never for a pinned commit that is cached.
"""

import re
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar, cast

from huggingface_hub import HfApi, ModelInfo, constants, errors, snapshot_download
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import validate_repo_id

from bge_cpu.checkpoint.files import read_object
from bge_cpu.checkpoint.record import RECORD, SHARDS, TENSORS
from bge_cpu.checkpoint.refusals import no_weights
from bge_cpu.errors import CheckpointError, warn

T = TypeVar("T")

_COMMIT = re.compile(r"[0-9a-f]{40}")
_FILES = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    TENSORS,
    SHARDS,
    "model-*-of-*.safetensors",
    RECORD,  # these three are in exported folders only
    "manifest.json",
    "fidelity.json",
]


def fetch(repo: str, *, revision: str | None, local_files_only: bool) -> tuple[Path, str]:
    """The snapshot folder of a checkpoint and its commit, downloaded if it is not in the Hub's cache.

    When the Hub does not answer within seconds (HF_HUB_ETAG_TIMEOUT, 10 by default), the cached state of the revision
    is used and a warning says so.

    Raises:
        CheckpointError: The checkpoint is neither cached nor to be had from the Hub, or holds no safetensors.
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
            hint=f"download it on a machine with network: hf download {repo}; or name a local folder, or mini",
        )
    info = None
    try:
        if not pinned:
            info = _info(repo, revision)
            cached = _cached(repo, revision)
            if cached and cached[1] == info.sha:
                return cached
        begun = _watch(repo)
        folder = _answer(
            lambda: Path(snapshot_download(repo, revision=revision, allow_patterns=_FILES)), 3 * _wait(), begun=begun
        )
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.GatedRepoError) as error:
        raise CheckpointError(
            f"the Hub refused {repo} (revision {revision or 'main'}): {_first_line(error)}",
            hint="check the id and the revision; for a gated or private model log in with: hf auth login",
        ) from error
    except Exception as error:  # of the network, a proxy's address, a login page in the Hub's place, the disk
        cached = _cached(repo, revision)
        if cached is None:
            raise CheckpointError(
                f"{repo} is not whole in the Hub's cache, and {constants.ENDPOINT} did not deliver it: "
                f"{_first_line(error)}",
                hint="check network, proxy (HTTPS_PROXY, ALL_PROXY) and HF_ENDPOINT, a mirror's address; or name a "
                "local folder, or mini",
            ) from error
        warn(
            f"the Hub at {constants.ENDPOINT} did not answer ({_first_line(error)}); using the cached commit "
            f"{cached[1]} of {repo}"
        )
        return cached
    if not any(folder.glob("model*.safetensors")):
        raise no_weights(repo, _names(repo, folder.name) if info is None else _named(info))
    return folder, folder.name


def _wait() -> float:
    """The seconds that a question to the Hub may take."""
    return float(constants.HF_HUB_ETAG_TIMEOUT)


def _info(repo: str, revision: str | None) -> ModelInfo:
    """What the Hub says of a revision."""
    return _answer(lambda: HfApi().model_info(repo, revision=revision, timeout=_wait()), _wait())


def _watch(repo: str) -> Callable[[], bool]:
    """A function that says whether any part of a repository's files has come since it was made."""
    folder = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repo, repo_type="model"))

    def held() -> int:
        parts = [file for part in ("blobs", "snapshots") for file in folder.glob(f"{part}/**/*")]
        return sum(file.lstat().st_size for file in parts if file.is_file())

    before = held()
    return lambda: held() > before


def _answer(ask: Callable[[], T], seconds: float, *, begun: Callable[[], bool] = lambda: False) -> T:
    """What the Hub answers, if it does within some seconds; some of huggingface_hub's calls know no timeout.

    Args:
        ask: Calls the Hub. Where nobody waits for it any more, it goes on in its thread.
        seconds: How long the answer may take.
        begun: Asked after these seconds: is it on its way? Then there is no limit, since a download has its own.

    Raises:
        TimeoutError: There was no answer, and none had begun.
    """
    outcome: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            outcome.put((ask(), None))
        except BaseException as error:
            outcome.put((None, error))

    threading.Thread(target=run, name="bge-cpu-hub", daemon=True).start()  # one that hangs holds up nobody's exit
    try:
        found, error = outcome.get(timeout=seconds)
    except Empty:
        if not begun():
            raise TimeoutError(f"no answer within {seconds:g} s") from None
        found, error = outcome.get()
    if error is not None:
        raise error
    return cast(T, found)


def _cached(repo: str, revision: str | None) -> tuple[Path, str] | None:
    """The snapshot folder of a revision and its commit, if its files are all in the cache."""
    try:
        folder = snapshot_download(repo, revision=revision, local_files_only=True, allow_patterns=_FILES)
    except OSError:  # not there, or only a part of it
        return None
    snapshot = Path(folder)
    return (snapshot, snapshot.name) if _is_whole(snapshot) else None


def _is_whole(snapshot: Path) -> bool:
    """Whether a download was not interrupted: all that a checkpoint consists of is there."""
    names = {"config.json", "tokenizer.json", TENSORS}
    if not (snapshot / TENSORS).exists() and (snapshot / SHARDS).exists():
        try:
            names = names - {TENSORS} | set(map(str, read_object(snapshot / SHARDS)["weight_map"].values()))
        except (CheckpointError, KeyError, AttributeError):
            return False
    return all((snapshot / name).exists() for name in names)


def _names(repo: str, commit: str) -> list[str]:
    """The names of a repository's files; none where the Hub does not tell."""
    try:
        return _named(_info(repo, commit))
    except Exception:  # only a message would be better for it
        return []


def _named(info: ModelInfo) -> list[str]:
    return [file.rfilename for file in info.siblings or ()]


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
