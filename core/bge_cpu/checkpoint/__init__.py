"""Step 1: a Hub id, a folder or "mini" -> a checkpoint: its files, configuration and fingerprint.

Weights are read from safetensors only; no pickle is opened and no code of a checkpoint is run.
"""

import hashlib
import importlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bge_cpu.checkpoint.architecture import position_offset
from bge_cpu.checkpoint.record import TENSORS, recorded_mode
from bge_cpu.checkpoint.weights import header_bytes
from bge_cpu.errors import CheckpointError, InputError

MINI = Path(__file__).parents[1] / "mini"
_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*")


@dataclass(frozen=True)
class Checkpoint:
    """The files of one cross-encoder.

    Attributes:
        name: The model as it was asked for.
        folder: Where its files lie.
        config: config.json.
        weights: The safetensors files.
        commit: The Hub commit, if it came from there.
        exported_mode: The mode that a folder written by `bge-cpu export` runs in; None for an ordinary checkpoint.
    """

    name: str
    folder: Path
    config: dict[str, Any]
    weights: tuple[Path, ...]
    commit: str | None = None
    exported_mode: str | None = None

    @property
    def tokenizer(self) -> Path:
        """The tokenizer.json."""
        return self.folder / "tokenizer.json"

    @property
    def max_length(self) -> int | None:
        """The longest pair in tokens, special tokens counted; None where the architecture sets no limit."""
        positions = self.config.get("max_position_embeddings", self.config.get("n_positions"))
        if positions is None:
            return None
        return int(positions) - position_offset(self.config)

    def check_tokenizer(self, vocabulary: int, token_types: int) -> None:
        """Check that every id and token type of a tokenizer has a row in the embedding tables.

        Raises:
            CheckpointError: The tokenizer is another model's.
        """
        found = (("ids", "vocab_size", vocabulary), ("token types", "type_vocab_size", token_types))
        for what, key, size in found:
            known = self.config.get(key)
            if known is not None and size > known:
                raise CheckpointError(
                    f"{self.tokenizer} gives {size:,} {what}; the model of {self.folder} knows {known:,}"
                )

    def fingerprint(self) -> str:
        """A SHA-256 that changes when the checkpoint does, without reading the weights.

        It covers config.json, tokenizer.json, the header of each weight file, and the Hub commit or else the files'
        sizes and modification times.

        Raises:
            CheckpointError: A file cannot be read.
        """
        digest = hashlib.sha256()
        for file in (self.folder / "config.json", self.tokenizer):
            digest.update(hashlib.sha256(_read(file)).digest())
        for file in self.weights:
            digest.update(hashlib.sha256(header_bytes(file)).digest())
            status = file.stat()
            digest.update((self.commit or f"{status.st_size} {status.st_mtime_ns}").encode())
        return digest.hexdigest()


def open_checkpoint(model: str | Path, *, revision: str | None = None, local_files_only: bool = False) -> Checkpoint:
    """Find a checkpoint's files and check that they are whole enough to be loaded.

    Args:
        model: A folder, a Hub id ("BAAI/bge-reranker-v2-m3") or "mini", the bundled checkpoint. A folder of that
            name goes before the Hub.
        revision: A Hub branch, tag or commit. A pinned commit that is in the Hub's cache costs no call to the Hub.
        local_files_only: Never call the Hub.

    Raises:
        InputError: `model` is neither a string nor a path, or `revision` was given for a folder.
        CheckpointError: Something is missing, unreadable or not a one-label sequence classifier.
    """
    if not isinstance(model, str | Path) or not str(model):
        raise InputError(f"model is a Hub id, a folder or 'mini', not {model!r}")
    if revision is not None and (not isinstance(revision, str) or not revision):
        raise InputError(f"revision is None, a branch, a tag or a commit, not {revision!r}")
    folder, commit = MINI if model == "mini" else Path(model), None
    try:
        folder = folder.expanduser()
        exists = folder.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long a name, an unknown user's home, a null byte
        raise CheckpointError(f"{str(model)[:200]!r} is no folder's name: {error}") from error
    if not exists and isinstance(model, str) and _HUB_ID.fullmatch(model):
        hub = importlib.import_module("bge_cpu.checkpoint.hub")  # only now: it brings an HTTP client along
        folder, commit = hub.fetch(model, revision=revision, local_files_only=local_files_only)
    elif revision is not None:
        raise InputError(f"revision={revision!r} is for Hub ids; {model!r} is a folder")
    if not folder.is_dir():
        raise CheckpointError(
            f"no checkpoint folder {str(model)!r}", hint="a Hub id has the form owner/name, a folder must exist"
        )
    config = _config(folder)
    if not (folder / "tokenizer.json").is_file():
        raise CheckpointError(
            f"{folder} has no tokenizer.json",
            hint=f"write it with transformers: AutoTokenizer.from_pretrained({str(folder)!r}).save_pretrained(...)",
        )
    weights = _weight_files(folder)
    _check_headers(weights)
    return Checkpoint(str(model), folder, config, weights, commit, recorded_mode(folder))


def _config(folder: Path) -> dict[str, Any]:
    """Read config.json of a one-label sequence classifier."""
    config = _json(folder / "config.json")
    architectures = config.get("architectures") or ["none named"]
    if not isinstance(architectures, list):
        raise CheckpointError(f"architectures in {folder / 'config.json'} is a list, not {architectures!r}")
    for key in (
        "vocab_size",
        "type_vocab_size",
        "max_position_embeddings",
        "n_positions",
        "pad_token_id",
        "num_labels",
    ):
        if not isinstance(config.get(key, 0), int) and not (key == "pad_token_id" and config[key] is None):
            raise CheckpointError(f"{key} in {folder / 'config.json'} is a whole number, not {config[key]!r}")
    found = architectures[0]
    if not str(found).endswith("ForSequenceClassification"):
        raise CheckpointError(
            f"{folder} holds architecture {found}, not a sequence classifier (...ForSequenceClassification)",
            hint="a reranker is a cross-encoder; an embedding model scores no pairs",
        )
    names = config.get("id2label")
    labels = len(names) if isinstance(names, dict) and names else config.get("num_labels", 2)
    if labels != 1:
        raise CheckpointError(f"{folder} is a classifier with {labels} labels; a reranker has 1")
    return config


def _check_headers(files: Iterable[Path]) -> None:
    """Refuse damaged files, and a tensor that stands in two, in every mode alike."""
    seen: set[str] = set()
    for file in files:
        names = set(json.loads(header_bytes(file))) - {"__metadata__"}
        if seen & names:
            raise CheckpointError(
                f"tensors stand in more than one file of {file.parent}: {', '.join(sorted(seen & names))}"
            )
        seen |= names


def _weight_files(folder: Path) -> tuple[Path, ...]:
    """The single safetensors file, or the shards that the index names."""
    single, index = folder / TENSORS, folder / "model.safetensors.index.json"
    if single.is_file():
        return (single,)
    if not index.is_file():
        found = ", ".join(sorted(file.name for file in folder.glob("*.bin"))) or "none"
        raise CheckpointError(
            f"{folder} has no {TENSORS} (pickled weights, never opened: {found})",
            hint="load it once with transformers and save_pretrained(..., safe_serialization=True)",
        )
    names = sorted(set(_shard_names(index)))
    missing = [name for name in names if Path(name).name != name or not (folder / name).is_file()]
    if missing:
        raise CheckpointError(f"{index} names shards that are not in its folder: {', '.join(missing)}")
    return tuple(folder / name for name in names)


def _shard_names(index: Path) -> Iterable[str]:
    try:
        return [str(name) for name in _json(index)["weight_map"].values()]
    except (KeyError, AttributeError) as error:
        raise CheckpointError(f"{index} has no weight_map") from error


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(_read(file))
    except ValueError as error:
        raise CheckpointError(f"{file} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{file} holds no JSON object")
    return content


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}") from error
