"""INT8 artifacts: look, lock, build, check, publish. An artifact is there whole or not at all.

An artifact is a folder `<mode>-<key>` with `model.safetensors` (the tensors), `manifest.json` (whose it is, how large
and with which hash) and, once measured, `fidelity.json`. The key covers what the checkpoint's files hold, the recipe's
version and the kind of CPU. A build writes into a folder of another name beside it, under a lock that dies with its
process, and is published by one rename; a file that a process may have mapped is never written again.
"""

import contextlib
import errno
import hashlib
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import track

from bge_cpu.checkpoint import Checkpoint
from bge_cpu.checkpoint.content import sha256
from bge_cpu.checkpoint.record import TENSORS
from bge_cpu.checkpoint.weights import Tensors, write_safetensors
from bge_cpu.errors import ArtifactError, CheckpointError, warn
from bge_cpu.machine.pool import FairPool
from bge_cpu.quantization.cache import (
    artifacts,
    clear,
    default_cache,
    leftover_name,
    locked,
    sweep,
    temporary_folder,
)
from bge_cpu.quantization.hashes import weight_hashes
from bge_cpu.quantization.manifest import MANIFEST, Manifest, folder_name, read_manifest
from bge_cpu.quantization.sharing import share
from bge_cpu.quantization.telling import tell

__all__ = ["Recipe", "artifacts", "check_exported", "damage", "default_cache", "digest", "obtain", "read_manifest"]

_CHUNK = 32 << 20  # bytes
_DIGEST_THREADS = 4


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


@contextlib.contextmanager
def obtain(checkpoint: Checkpoint, recipe: Recipe, *, cache_dir: Path | None, threads: int) -> Iterator[Path]:
    """The folder of a whole, checked artifact of this very checkpoint, built if need be.

    Where the cache cannot be used, the artifact is built in a temporary folder, a warning says so, and the folder goes
    at the end of the `with` block: open its files within.

    Raises:
        ArtifactError: The artifact could not be built, for instance because the disk is full; nothing is left behind.
        CheckpointError: The checkpoint could not be read.
    """
    cache = default_cache() if cache_dir is None else Path(cache_dir).expanduser().absolute()
    fingerprint = checkpoint.fingerprint(weight_hashes(checkpoint, cache, threads=threads))
    build = _Build(checkpoint, recipe, fingerprint, threads)
    try:
        if cache is None:
            raise PermissionError(errno.EACCES, "the user has no home folder")
        folder = build.in_cache(cache)
    except OSError as error:
        why = error.strerror or str(error)
        warn(
            f"the artifact cache {cache or ''} cannot be used ({why}); building the artifact for this process only, as "
            "will every other process: set cache_dir to a folder that can be read and written"
        )
        with temporary_folder() as temporary:
            yield build.at(temporary / "artifact")
        return
    yield folder


def damage(folder: Path, *, fingerprint: str | None = None, threads: int = _DIGEST_THREADS) -> str | None:
    """What is wrong with an artifact, in a few words; None where it is whole. All of it is read.

    Args:
        folder: Where it lies.
        fingerprint: The checkpoint whose it has to be; None takes any.
        threads: How many CPUs to use at most.

    Raises:
        OSError: It is there and cannot be read: that is no damage.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        return "no readable manifest"
    if fingerprint is not None and (manifest.checkpoint, manifest.folder) != (fingerprint, folder.name):
        return "it is another checkpoint's"
    try:
        status = (folder / TENSORS).stat()
    except (FileNotFoundError, NotADirectoryError):
        return f"no {TENSORS}"
    if not stat.S_ISREG(status.st_mode):
        return f"{TENSORS} is no file"
    if status.st_size != manifest.size:
        return f"{status.st_size:,} bytes instead of {manifest.size:,}"
    return None if digest(folder / TENSORS, threads=threads) == manifest.sha256 else "its hash does not match"


def check_exported(checkpoint: Checkpoint, recipe: Recipe, *, threads: int) -> None:
    """Check that an exported folder, which is its own artifact, is whole and made for this kind of CPU.

    Raises:
        ArtifactError: It is damaged or cannot be read, or its INT8 products would overflow here.
    """
    try:
        found = damage(checkpoint.folder, threads=threads)
        manifest = read_manifest(checkpoint.folder)
    except OSError as error:
        raise ArtifactError(f"the exported folder {checkpoint.folder} cannot be read: {error.strerror}") from error
    if found is not None or manifest is None:
        raise ArtifactError(f"the exported folder {checkpoint.folder} is damaged ({found})", hint="export it again")
    if manifest.cpu_class == "exact" and recipe.cpu_class == "saturating":
        raise ArtifactError(
            f"{checkpoint.folder} was exported on a CPU with exact INT8 products; this one's would overflow",
            hint="export it on a CPU of this kind, or load the checkpoint itself",
        )


def digest(file: Path, *, threads: int = _DIGEST_THREADS) -> str:
    """SHA-256 over the SHA-256 of each 32 MB of a file, worked out on several threads."""

    def part(offset: int) -> bytes:
        with file.open("rb", buffering=0) as stream:
            stream.seek(offset)
            hashed, left = hashlib.sha256(), _CHUNK
            while left and (block := stream.read(min(left, 1 << 20))):
                hashed.update(block)
                left -= len(block)
            return hashed.digest()

    parts = FairPool(min(_DIGEST_THREADS, threads), "bge-cpu-digest").map(part, range(0, file.stat().st_size, _CHUNK))
    return hashlib.sha256(b"".join(parts)).hexdigest()


@dataclass(frozen=True)
class _Build:
    """One artifact to be: of which checkpoint, by which recipe."""

    checkpoint: Checkpoint
    recipe: Recipe
    fingerprint: str
    threads: int

    def in_cache(self, cache: Path) -> Path:
        """The artifact's folder in a cache, built there if need be, by one process while the others wait.

        Raises:
            OSError: The cache cannot be read or written.
        """
        recipe = self.recipe
        folder = cache / folder_name(self.fingerprint, recipe.mode, recipe.version, recipe.cpu_class)
        if self._damage(folder) is not None:
            cache.mkdir(parents=True, exist_ok=True)
            with locked(folder):
                found = self._damage(folder)  # another process may have built it meanwhile
                if found is not None:
                    sweep(folder)
                    if os.path.lexists(folder):
                        where = clear(folder)
                        warn(f"the artifact {folder} is damaged ({found}); building it again{where}")
                    self.at(folder)
        with contextlib.suppress(OSError):
            os.utime(folder / MANIFEST)  # so that `bge-cpu cache prune` knows when it was last used
        return folder

    def _damage(self, folder: Path) -> str | None:
        return damage(folder, fingerprint=self.fingerprint, threads=self.threads)

    def at(self, folder: Path) -> Path:
        """Write the artifact beside its place, then move it there."""
        temporary = folder.with_name(leftover_name(folder))
        try:
            temporary.mkdir(0o700)
            self._write(temporary)
            for file in (temporary, *temporary.iterdir()):
                share(file)
            temporary.rename(folder)
            return folder
        except OSError as error:
            raise ArtifactError(
                f"the artifact {folder} could not be built: {error.strerror or error}",
                hint="make room there, or set cache_dir to another folder; v2-m3 needs 0.6 GB",
            ) from error
        finally:
            sweep(folder)

    def _write(self, folder: Path) -> None:
        """Write tensors and manifest."""
        checkpoint, recipe = self.checkpoint, self.recipe
        weights = sum(file.stat().st_size for file in checkpoint.weights)
        tell(f"building the INT8 artifact of {checkpoint.name} for mode {recipe.mode}", weights)
        count, tensors = recipe.tensors()
        made = track(
            tensors,
            description=escape(f"building {recipe.mode} of {checkpoint.name}"),
            total=count,
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        write_safetensors(folder / TENSORS, made, count=count)
        hashes = {file.name: sha256(file) for file in checkpoint.weights}
        if checkpoint.fingerprint(hashes.values()) != self.fingerprint:
            raise CheckpointError(
                f"the files of {checkpoint.folder} do not hold what they did, or what the Hub's cache says they do",
                hint="if they came from the Hub, remove the model from its cache (hf cache) and download it again",
            )
        Manifest(
            model=checkpoint.name,
            mode=recipe.mode,
            version=recipe.version,
            cpu_class=recipe.cpu_class,
            checkpoint=self.fingerprint,
            weights=hashes,
            size=(folder / TENSORS).stat().st_size,
            sha256=digest(folder / TENSORS, threads=self.threads),
        ).write(folder)
