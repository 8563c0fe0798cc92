"""What an artifact says of itself, in `manifest.json`: whose it is, whom it is for, and what its tensors must be."""

import errno
import hashlib
import json
import os
import stat
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, cast

T = TypeVar("T")

MANIFEST = "manifest.json"
_MOST = 1 << 24  # bytes; more than any file of JSON in the cache holds
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)


@dataclass(frozen=True)
class Manifest:
    """The content of a manifest.

    Attributes:
        model: The checkpoint's name when the artifact was built; another name may stand for the same checkpoint.
        mode: The mode that runs the artifact.
        version: The version of the mode's recipe.
        cpu_class: The kind of CPU that it is for.
        checkpoint: The fingerprint of the checkpoint.
        weights: The SHA-256 of each of the checkpoint's weight files, by the file's name.
        size: The tensors' file in bytes.
        sha256: The digest of the tensors' file (`artifacts.digest`).
    """

    model: str
    mode: str
    version: int
    cpu_class: str
    checkpoint: str
    weights: dict[str, str]
    size: int
    sha256: str

    @property
    def folder(self) -> str:
        """The name of the artifact's folder in a cache."""
        return folder_name(self.checkpoint, self.mode, self.version, self.cpu_class)

    def write(self, folder: Path) -> None:
        """Write it into an artifact's folder."""
        (folder / MANIFEST).write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")


def folder_name(checkpoint: str, mode: str, version: int, cpu_class: str) -> str:
    """The name of the folder of the artifact that a mode makes of a checkpoint, told by its fingerprint."""
    what = f"{checkpoint} {mode} {version} {cpu_class}"
    return f"{mode}-{hashlib.sha256(what.encode()).hexdigest()[:32]}"


def read_manifest(folder: Path) -> Manifest | None:
    """An artifact's manifest; None where there is none, or one that says something else than a manifest does.

    Raises:
        OSError: It is there and cannot be read.
    """
    return checked(Manifest, read_json(folder / MANIFEST))


def checked(kind: type[T], content: Any) -> T | None:
    """A dataclass made of what a JSON file holds; None where a field is missing or of another type.

    >>> checked(Manifest, {"model": 5}) is None
    True
    """
    kinds = {field.name: getattr(field.type, "__origin__", field.type) for field in fields(cast(Any, kind))}
    if not isinstance(content, dict) or any(type(content.get(name)) is not wanted for name, wanted in kinds.items()):
        return None
    texts = [text for value in content.values() if isinstance(value, dict) for text in value.values()]
    return kind(**{name: content[name] for name in kinds}) if all(isinstance(text, str) for text in texts) else None


def read_json(file: Path) -> Any:
    """What a JSON file of ours holds; None where there is no such file, or what is there is no JSON.

    Raises:
        OSError: It is there and cannot be read.
    """
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):
            return None
        with file.open("rb") as stream:
            return json.loads(stream.read(_MOST))
    except (ValueError, RecursionError):
        return None
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise
