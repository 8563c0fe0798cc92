"""The SHA-256 of weight files: worked out once, and remembered in the cache of artifacts as long as no file changes.

Reading v2-m3's 2.3 GB takes a second or more; the memory is a file `checkpoints.json`, path -> size, times, inode and
hash. Every change of a file's content changes the time of its last change (ctime), which no program can set.
"""

import contextlib
import json
import os
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bge_cpu.checkpoint import Checkpoint
from bge_cpu.checkpoint.content import hub_sha256, sha256
from bge_cpu.errors import CheckpointError
from bge_cpu.machine.pool import FairPool
from bge_cpu.quantization.manifest import read_json
from bge_cpu.quantization.sharing import share

_FILE = "checkpoints.json"
_SHA256 = re.compile(r"[0-9a-f]{64}")

Remembered = dict[str, list[Any]]
"""A file's path -> its size, mtime_ns, ctime_ns, inode and SHA-256."""


def weight_hashes(checkpoint: Checkpoint, cache: Path | None, *, threads: int) -> list[str]:
    """The SHA-256 of each of a checkpoint's weight files, in their order.

    The Hub's own cache names large files by it, and is believed; `artifacts` finds out when it builds.

    Args:
        checkpoint: Whose.
        cache: The cache of artifacts, where they are remembered if it can be written; None remembers nothing.
        threads: How many files are read at once.

    Raises:
        CheckpointError: A file cannot be read.
    """
    files = [Path(os.path.realpath(file)) for file in checkpoint.weights]
    known = read_remembered(cache) if cache else {}
    marks = [_mark(file) for file in files]
    found = {str(file): known.get(str(file), []) for file in files}
    unknown = [(file, mark) for file, mark in zip(files, marks, strict=True) if found[str(file)][:4] != mark]

    def entry(file: Path, mark: list[int]) -> list[Any]:
        return [*mark, (hub_sha256(file) if checkpoint.commit else None) or sha256(file)]

    entries = FairPool(min(threads, len(unknown) or 1), "bge-cpu-hash").map(lambda new: entry(*new), unknown)
    found |= {str(file): made for (file, _), made in zip(unknown, entries, strict=True)}
    if cache and unknown:
        _remember(cache, {path: made for path, made in found.items() if _mark(Path(path)) == made[:4]})
    return [found[str(file)][4] for file in files]


def read_remembered(cache: Path) -> Remembered:
    """What a cache remembers; nothing where that cannot be read."""
    try:
        content = read_json(cache / _FILE)
    except OSError:
        return {}
    return {path: entry for path, entry in content.items() if _sound(entry)} if isinstance(content, dict) else {}


def forget_missing(cache: Path) -> None:
    """Forget files that are there no more."""
    gone = [path for path in read_remembered(cache) if not os.path.exists(path)]
    if gone:
        _remember(cache, {}, forget=gone)


def _remember(cache: Path, entries: Mapping[str, list[Any]], *, forget: Sequence[str] = ()) -> None:
    """Add entries to a cache's memory, and take others out; where it cannot be written, it stays as it is."""
    temporary = cache / f".{_FILE}.{uuid.uuid4().hex}"
    with contextlib.suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
        kept = {path: entry for path, entry in read_remembered(cache).items() if path not in forget}
        try:
            temporary.write_text(json.dumps(kept | dict(entries), indent=0), encoding="utf-8")
            share(temporary)
            temporary.replace(cache / _FILE)
        finally:
            temporary.unlink(missing_ok=True)


def _mark(file: Path) -> list[int]:
    """What tells that a file is still the same."""
    try:
        status = file.stat()
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}") from error
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _sound(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 5 and bool(_SHA256.fullmatch(str(entry[4])))
