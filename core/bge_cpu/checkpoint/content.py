"""Part of loading: which checkpoint it is, by what its files hold, wherever they lie."""

import hashlib
import os
import re
from pathlib import Path

from bge_cpu.errors import CheckpointError

_BLOCK = 1 << 20  # bytes


def sha256(file: Path) -> str:
    """The SHA-256 of a file's content, as `sha256sum` and the Hub's pages give it.

    Raises:
        CheckpointError: It cannot be read.
    """
    hashed, block = hashlib.sha256(), memoryview(bytearray(_BLOCK))
    try:
        with file.open("rb", buffering=0) as stream:
            while size := stream.readinto(block):
                hashed.update(block[:size])
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}") from error
    return hashed.hexdigest()


def hub_sha256(file: Path) -> str | None:
    """The SHA-256 by which the Hub's own cache names a large file; None for any other file."""
    place = Path(os.path.realpath(file))
    return place.name if place.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", place.name) else None
