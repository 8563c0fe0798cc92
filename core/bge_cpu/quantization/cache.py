"""The folder of INT8 artifacts: what in it is ours beyond doubt, and how that is locked, listed and removed.

Anything else in the folder is neither listed nor touched, whoever put it there.
"""

import contextlib
import os
import re
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from bge_cpu.checkpoint.record import TENSORS
from bge_cpu.errors import ArtifactError, warn
from bge_cpu.quantization.hashes import read_remembered
from bge_cpu.quantization.manifest import MANIFEST, Manifest, read_manifest
from bge_cpu.quantization.sharing import lock_mode

FIDELITY = "fidelity.json"
_OURS = {TENSORS, MANIFEST, FIDELITY, f".{FIDELITY}"}
"""The files that we write into an artifact's folder."""

_LEFTOVER = re.compile(r"\.(?P<artifact>[a-z0-9-]+-[0-9a-f]{32})\.[0-9a-f]{32}")
_SECONDS_OF_SILENCE = 1


def default_cache() -> Path | None:
    """The user's cache folder for artifacts; None where the user has no home."""
    try:
        folder = user_cache_path("bge-cpu")
    except RuntimeError:
        return None
    return folder if folder.is_absolute() else None


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for this process alone.

    Raises:
        ArtifactError: There is none that can be written.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="bge-cpu-", ignore_cleanup_errors=True)
    except OSError as error:
        raise ArtifactError(
            f"there is no folder to build the artifact in: {error.strerror or error}",
            hint='set cache_dir, or TMPDIR, to a folder that can be written; or use mode="onnx", which needs none',
        ) from error
    with folder as name:
        yield Path(name)


def leftover_name(folder: Path) -> str:
    """A name for a folder in which an artifact is built; a build that is killed leaves it."""
    return f".{folder.name}.{uuid.uuid4().hex}"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold an artifact's lock; waiting for it says so after a second. A process that dies holds it no more.

    Raises:
        OSError: The folder above cannot be written.
    """
    file = Path(f"{folder}.lock")
    lock = FileLock(file, mode=lock_mode(file))
    try:
        lock.acquire(timeout=_SECONDS_OF_SILENCE)
    except Timeout:
        warn(f"waiting for another process that builds or measures {folder}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def artifacts(cache: Path) -> list[tuple[Path, Manifest | None]]:
    """The artifacts in a cache, each with its manifest; and what stopped builds left, each with None."""
    if not cache.is_dir():
        return []
    folders = [folder for folder in sorted(cache.iterdir()) if folder.is_dir() and not folder.is_symlink()]
    found = [(folder, _manifest_of_ours(folder)) for folder in folders]
    return [(folder, manifest) for folder, manifest in found if manifest or _is_leftover(folder)]


def removable(folder: Path) -> bool:
    """Whether a folder is an artifact of ours, or what is left of one, with nothing of anyone else's in it."""
    return (_manifest_of_ours(folder) is not None or _is_leftover(folder)) and _holds_only_ours(folder)


def remove(folder: Path) -> bool:
    """Remove an artifact, or what is left of one; False where that may not be done, or is being built.

    Raises:
        OSError: It cannot be removed.
    """
    leftover = _LEFTOVER.fullmatch(folder.name)
    file = folder.with_name(f"{leftover['artifact'] if leftover else folder.name}.lock")
    try:
        with FileLock(file, mode=lock_mode(file), timeout=0):
            if not removable(folder):
                return False
            _delete(folder)
    except Timeout:
        return False
    return True


def sweep(folder: Path) -> None:
    """Remove what builds of an artifact left that were stopped; the caller holds its lock."""
    for leftover in folder.parent.glob(f".{folder.name}.*"):
        if removable(leftover):
            with contextlib.suppress(OSError):
                _delete(leftover)


def clear(folder: Path) -> str:
    """Free an artifact's place of whatever is there; the caller holds its lock.

    What is not ours beyond doubt is moved aside, not removed.

    Returns:
        What became of it, as the end of a sentence; "" if it was removed.

    Raises:
        OSError: It cannot be moved.
    """
    if not folder.is_symlink() and removable(folder):
        _delete(folder)
        return ""
    aside = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.aside")
    folder.rename(aside)
    return f"; what was there is now {aside.name}"


@dataclass(frozen=True)
class Pruning:
    """Which whole artifacts are to go.

    Attributes:
        everything: All of them.
        unused_days: Those not loaded for so many days; None keeps them.
        missing_source: Those whose checkpoint is at none of the places where it was seen.
        most_bytes: Those used the longest ago, until the others take no more than this; None keeps them.
    """

    everything: bool = False
    unused_days: float | None = None
    missing_source: bool = False
    most_bytes: float | None = None

    def chosen(self, cache: Path, whole: list[tuple[Path, Manifest]]) -> list[Path]:
        """Those of some whole artifacts that are to go."""
        remembered = read_remembered(cache)
        doomed, kept = [], []
        for folder, manifest in whole:
            used = (folder / MANIFEST).stat().st_mtime
            old = self.unused_days is not None and time.time() - used > self.unused_days * 86_400
            places = [path for path, entry in remembered.items() if entry[4] in manifest.weights.values()]
            lost = self.missing_source and bool(places) and not any(map(os.path.exists, places))
            if self.everything or old or lost:
                doomed.append(folder)
            else:
                kept.append((used, folder))
        total = sum(size(folder) for _, folder in kept)
        for _, folder in sorted(kept):
            if self.most_bytes is None or total <= self.most_bytes:
                break
            total -= size(folder)
            doomed.append(folder)
        return doomed


def size(folder: Path) -> int:
    """The bytes in a folder's files."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


def _manifest_of_ours(folder: Path) -> Manifest | None:
    """The manifest of a folder that bears the very name that its manifest implies; None for any other."""
    try:
        manifest = read_manifest(folder)
    except OSError:
        return None
    return manifest if manifest is not None and manifest.folder == folder.name else None


def _is_leftover(folder: Path) -> bool:
    return bool(_LEFTOVER.fullmatch(folder.name)) and not folder.is_symlink() and _holds_only_ours(folder)


def _holds_only_ours(folder: Path) -> bool:
    try:
        return all(name in _OURS for name in os.listdir(folder))
    except OSError:
        return False


def _delete(folder: Path) -> None:
    """Delete a folder that holds only files of ours; a process that has mapped them keeps them."""
    if not _LEFTOVER.fullmatch(folder.name):  # a folder that is half deleted is no artifact
        folder = folder.rename(folder.with_name(leftover_name(folder)))
    for name in _OURS:
        (folder / name).unlink(missing_ok=True)
    folder.rmdir()
