"""The cache of INT8 artifacts: lock, build, check, publish. An artifact is there whole or not at all.

An artifact is a folder `<checkpoint>-<mode>-<key>` with `model.safetensors` (the tensors), `manifest.json` (what it
was made from, its size and hash) and, once measured, `fidelity.json`. The key covers the checkpoint's fingerprint, the
builder's version and the CPU class. A build writes into a temporary folder beside it, under a lock that dies with its
process, and is published by one rename.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from platformdirs import user_cache_path
from rich.console import Console
from rich.progress import track

from bge_cpu.checkpoint import Checkpoint
from bge_cpu.checkpoint.record import TENSORS
from bge_cpu.checkpoint.weights import Tensors, write_safetensors
from bge_cpu.errors import ArtifactError, warn

_MANIFEST = "manifest.json"
_CHUNK = 32 << 20  # bytes


@dataclass(frozen=True)
class Recipe:
    """How a checkpoint becomes an artifact.

    Attributes:
        mode: The mode that runs it.
        version: Goes up when the same checkpoint would give other tensors.
        cpu_class: The kind of CPU it is for.
        tensors: Says how many tensors there will be, and makes them one by one, float32 before int8.
    """

    mode: str
    version: int
    cpu_class: str
    tensors: Callable[[], tuple[int, Tensors]]

    def key(self, checkpoint: Checkpoint) -> str:
        """The artifact's folder name."""
        what = f"{checkpoint.fingerprint()} {self.mode} {self.version} {self.cpu_class}"
        slug = re.sub(r"[^\w.-]+", "--", checkpoint.name.strip("/."))[-60:]
        return f"{slug}-{self.mode}-{hashlib.sha256(what.encode()).hexdigest()[:16]}"


def default_cache() -> Path | None:
    """The user's cache folder for artifacts; None where the user has no home."""
    try:
        folder = user_cache_path("bge-cpu")
    except RuntimeError:
        return None
    return folder if folder.is_absolute() else None


@contextlib.contextmanager
def obtain(checkpoint: Checkpoint, recipe: Recipe, *, cache_dir: Path | None) -> Iterator[Path]:
    """The folder of a whole, checked artifact, built if need be.

    Where the cache cannot be written, the artifact is built in a temporary folder, a warning says so, and the folder
    goes at the end of the `with` block: open its files within.

    Raises:
        ArtifactError: The artifact could not be built, for instance because the disk is full; nothing is left behind.
        CheckpointError: The checkpoint could not be read.
    """
    cache = default_cache() if cache_dir is None else Path(cache_dir).expanduser().absolute()
    folder = cache / recipe.key(checkpoint) if cache else None
    if folder and damage(folder) is None:
        yield folder
        return
    try:
        if folder is None:
            raise PermissionError(errno.EACCES, "the user has no home folder")
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{folder}.lock")
        lock.acquire()
    except OSError as error:
        warn(
            f"the artifact cache {cache or ''} cannot be written ({error.strerror}); building the artifact for this "
            "process only, as will every other process: set cache_dir to a folder that can be written"
        )
        with tempfile.TemporaryDirectory(prefix="bge-cpu-", ignore_cleanup_errors=True) as temporary:
            yield _build(checkpoint, recipe, Path(temporary) / "artifact")
        return
    try:
        found = damage(folder)  # another process may have built it meanwhile
        if found is not None:
            if folder.exists():
                warn(f"the artifact {folder} is damaged ({found}); building it again")
            _sweep(folder)
            _build(checkpoint, recipe, folder)
    finally:
        lock.release()
    yield folder


def damage(folder: Path) -> str | None:
    """What is wrong with an artifact, in a few words; None where it is whole. All of it is read, on several threads."""
    manifest = read_manifest(folder)
    if manifest is None:
        return "no readable manifest"
    try:
        size = (folder / TENSORS).stat().st_size
        if size != manifest["size"]:
            return f"{size:,} bytes instead of {manifest['size']:,}"
        return None if digest(folder / TENSORS) == manifest["sha256"] else "its hash does not match"
    except (OSError, KeyError) as error:
        return str(error)


def check_exported(checkpoint: Checkpoint, recipe: Recipe) -> None:
    """Check that an exported folder, which is its own artifact, is whole and made for this kind of CPU.

    Raises:
        ArtifactError: It is damaged, or its INT8 products would overflow here.
    """
    found = damage(checkpoint.folder)
    if found is not None:
        raise ArtifactError(f"the exported folder {checkpoint.folder} is damaged ({found})", hint="export it again")
    made_for = (read_manifest(checkpoint.folder) or {}).get("cpu_class")
    if made_for == "exact" and recipe.cpu_class == "saturating":
        raise ArtifactError(
            f"{checkpoint.folder} was exported on a CPU with exact INT8 products; this one's would overflow",
            hint="export it on a CPU of this kind, or load the checkpoint itself",
        )


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """An artifact's manifest, or None where there is none that can be read."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def digest(file: Path) -> str:
    """SHA-256 over the SHA-256 of each 32 MB of a file, worked out on several threads."""

    def part(offset: int) -> bytes:
        with file.open("rb", buffering=0) as stream:
            stream.seek(offset)
            hashed, left = hashlib.sha256(), _CHUNK
            while left and (block := stream.read(min(left, 1 << 20))):
                hashed.update(block)
                left -= len(block)
            return hashed.digest()

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
        parts = threads.map(part, range(0, file.stat().st_size, _CHUNK))
        return hashlib.sha256(b"".join(parts)).hexdigest()


def artifacts(cache: Path) -> list[tuple[Path, dict[str, Any] | None]]:
    """All that lies in a cache: each artifact or leftover with its manifest, if it has one."""
    if not cache.is_dir():
        return []
    return [(folder, read_manifest(folder)) for folder in sorted(cache.iterdir()) if folder.is_dir()]


def _sweep(folder: Path) -> None:
    """Remove a damaged artifact and what killed builds of it left; the caller holds its lock."""
    for leftover in (folder, *folder.parent.glob(f".{folder.name}.*")):
        shutil.rmtree(leftover, ignore_errors=True)


def _build(checkpoint: Checkpoint, recipe: Recipe, folder: Path) -> Path:
    """Write an artifact beside its place, then move it there."""
    temporary = None
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        count, tensors = recipe.tensors()
        made = track(
            tensors,
            description=f"building {recipe.mode} of {checkpoint.name}",
            total=count,
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        write_safetensors(temporary / TENSORS, made, count=count)
        manifest = {
            "model": checkpoint.name,
            "mode": recipe.mode,
            "version": recipe.version,
            "cpu_class": recipe.cpu_class,
            "source": {file.name: digest(file) for file in checkpoint.weights},
            "size": (temporary / TENSORS).stat().st_size,
            "sha256": digest(temporary / TENSORS),
        }
        (temporary / _MANIFEST).write_text(json.dumps(manifest, indent=1))
        temporary.rename(folder)
        return folder
    except OSError as error:
        raise ArtifactError(
            f"the artifact {folder} could not be built: {error.strerror or error}",
            hint="make room there, or set cache_dir to another folder; v2-m3 needs 0.6 GB",
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
