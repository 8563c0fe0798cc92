"""Part of loading: a checkpoint's files are read with care: regular ones only, and no more than they may hold."""

import json
import stat
from pathlib import Path
from typing import Any

from bge_cpu.errors import CheckpointError

_MOST = 256 << 20  # bytes; the largest tokenizer.json in use has 35 MB
_POINTER = b"version https://git-lfs.github.com/spec/"


def check_file(file: Path) -> None:
    """Refuse what is not a file's own content: a folder, a pipe, a device, a Git LFS pointer.

    Raises:
        CheckpointError: It is one of these, or cannot be read.
    """
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise CheckpointError(f"{file} is not a regular file")
        with file.open("rb") as stream:
            pointer = stream.read(len(_POINTER)) == _POINTER
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}") from error
    if pointer:
        raise CheckpointError(
            f"{file} is a Git LFS pointer, not the file that it stands for",
            hint="run git lfs pull in its folder, or download the model with: hf download",
        )


def read(file: Path) -> bytes:
    """All of a small file, such as config.json or tokenizer.json.

    Raises:
        CheckpointError: It cannot be read, is no regular file or far too large.
    """
    check_file(file)
    try:
        with file.open("rb") as stream:
            content = stream.read(_MOST + 1)
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}") from error
    if len(content) > _MOST:
        raise CheckpointError(f"{file} has more than {_MOST >> 20} MB, too much for a file of its kind")
    return content


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a small file.

    Raises:
        CheckpointError: It cannot be read, or holds something else.
    """
    try:
        return parse(read(file))
    except ValueError as error:
        raise CheckpointError(f"{file} {error}") from error


def parse(content: bytes) -> dict[str, Any]:
    """The JSON object that some bytes hold.

    Raises:
        ValueError: They hold something else.
    """
    try:
        found = json.loads(content)
    except RecursionError:
        raise ValueError("is not JSON: it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError("holds no JSON object")
    return found
