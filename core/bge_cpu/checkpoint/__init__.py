"""Loading: a Hub id, a folder or "mini" -> a checkpoint: its files, configuration and fingerprint.

Weights are read from safetensors only; no pickle is opened and no code of a checkpoint is run.
"""

import hashlib
import importlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bge_cpu.checkpoint import refusals
from bge_cpu.checkpoint.architecture import position_offset
from bge_cpu.checkpoint.content import sha256
from bge_cpu.checkpoint.files import check_file, read_object
from bge_cpu.checkpoint.record import SHARDS, TENSORS, recorded_mode
from bge_cpu.checkpoint.weights import FLOATS, header_bytes
from bge_cpu.errors import CheckpointError, InputError, shown

MINI = Path(__file__).parents[1] / "mini"
_LAYERS = {
    "num_hidden_layers",
    "n_layers",
    "n_layer",
    "num_layers",
    "encoder_layers",
    "decoder_layers",
    "num_decoder_layers",
    "num_hidden_groups",
    "inner_group_num",
    "num_feedforward_networks",
    "block_sizes",
    "num_local_experts",
    "num_experts",
    "n_routed_experts",
    "num_blocks",
    "depth",
}
"""The numbers in config.json of modules that transformers makes one by one, before it looks at any tensor."""

_MOST_LAYERS = 1_000
_MOST = 2**31 - 1  # of any other whole number in config.json
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
            unread = known == 0 and key == "type_vocab_size"  # the model has no table of token types
            if known is not None and size > known and not unread:
                raise CheckpointError(
                    f"{self.tokenizer} gives {size:,} {what}; the model of {self.folder} knows {known:,}"
                )
        if 2 * vocabulary < self.config.get("vocab_size", 0):
            raise CheckpointError(
                f"{self.tokenizer} gives {vocabulary:,} ids, far fewer than the {self.config['vocab_size']:,} that the "
                f"model of {self.folder} knows",
                hint="it is another model's, or was written empty: take tokenizer.json from the model's repository",
            )

    def fingerprint(self, hashes: Iterable[str] | None = None) -> str:
        """A SHA-256 over what makes the model: the contents of config.json, tokenizer.json and the weights.

        It is the same wherever the files lie, however they got there and whatever their times.

        Args:
            hashes: The SHA-256 of each weight file; None means that they are read now, all of them.

        Raises:
            CheckpointError: A file cannot be read.
        """
        hashes = map(sha256, self.weights) if hashes is None else hashes
        each = [sha256(self.folder / "config.json"), sha256(self.tokenizer), *hashes]
        return hashlib.sha256(" ".join(each).encode()).hexdigest()


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
        raise InputError(f"model is a Hub id, a folder or 'mini', not {shown(model)}")
    if revision is not None and (not isinstance(revision, str) or not revision):
        raise InputError(f"revision is None, a branch, a tag or a commit, not {shown(revision)}")
    folder, commit = MINI if model == "mini" else Path(model), None
    try:
        folder = folder.expanduser()
        exists = folder.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long a name, an unknown user's home, a null byte
        reason = shown(getattr(error, "strerror", None) or str(error), 100)
        raise CheckpointError(f"{shown(str(model), 200)} is no folder's name: {reason}") from error
    if not exists and isinstance(model, str) and _HUB_ID.fullmatch(model):
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # what else is installed here is nobody's business
        hub = importlib.import_module("bge_cpu.checkpoint.hub")  # only now: it brings an HTTP client along
        folder, commit = hub.fetch(model, revision=revision, local_files_only=local_files_only)
    elif revision is not None:
        raise InputError(f"revision={shown(revision)} is for Hub ids; {shown(str(model), 200)} is a folder")
    if not folder.is_dir():
        raise CheckpointError(
            f"no checkpoint folder {shown(str(model), 200)}",
            hint="a Hub id has the form owner/name, a folder must exist",
        )
    config = _config(folder)
    if not os.path.exists(folder / "tokenizer.json"):
        raise refusals.no_tokenizer(folder)
    check_file(folder / "tokenizer.json")
    weights, exported_mode = _weight_files(folder), recorded_mode(folder)
    _check_headers(weights, exported=exported_mode is not None)
    checkpoint = Checkpoint(str(model), folder, config, weights, commit, exported_mode)
    if checkpoint.max_length is not None and checkpoint.max_length < 1:
        raise CheckpointError(f"config.json of {folder} leaves no position for a token")
    return checkpoint


def _config(folder: Path) -> dict[str, Any]:
    """Read config.json of a one-label sequence classifier."""
    file = folder / "config.json"
    if not os.path.exists(file) and os.path.exists(folder / "adapter_config.json"):
        raise refusals.no_weights(str(folder), ["adapter_config.json"])
    config = read_object(file)
    architectures = config.get("architectures") or ["none named"]
    if not isinstance(architectures, list):
        raise CheckpointError(f"architectures in {folder / 'config.json'} is a list, not {shown(architectures)}")
    for key in (
        "vocab_size",
        "type_vocab_size",
        "max_position_embeddings",
        "n_positions",
        "pad_token_id",
        "num_labels",
    ):
        if not isinstance(config.get(key, 0), int) and not (key == "pad_token_id" and config[key] is None):
            raise CheckpointError(f"{key} in {folder / 'config.json'} is a whole number, not {shown(config[key])}")
    for key, value in config.items():
        if isinstance(value, int) and abs(value) > _MOST:
            raise CheckpointError(f"{key} in {file} is a number beyond {_MOST:,}, which no model has")
    for key, value in _layers(config):
        if abs(value) > _MOST_LAYERS:
            raise CheckpointError(f"{key} in {file} is a number beyond {_MOST_LAYERS:,}, which no model has")
    if position_offset(config) < 0:
        raise CheckpointError(f"pad_token_id in {file} is {config['pad_token_id']}, the id of no token")
    found = str(architectures[0])
    if not found.endswith("ForSequenceClassification"):
        raise refusals.wrong_architecture(folder, found)
    names = config.get("id2label")
    labels = len(names) if isinstance(names, dict) and names else config.get("num_labels", 2)
    if labels != 1:
        raise CheckpointError(f"{folder} is a classifier with {labels} labels; a reranker has 1")
    return config


def _layers(config: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """The numbers of layers and their like that config.json names, however deep, and the key of each."""
    parts = list(config.items())
    while parts:
        key, part = parts.pop()
        if isinstance(part, dict):
            parts += part.items()
        elif isinstance(part, list):
            parts += [(key, inner) for inner in part]
        elif isinstance(part, int) and key in _LAYERS:
            yield key, part


def _check_headers(files: Iterable[Path], *, exported: bool) -> None:
    """Refuse damaged files, quantised weights, and a tensor that stands in two files, in every mode alike."""
    seen: set[str] = set()
    for file in files:
        entries = json.loads(header_bytes(file))
        names = set(entries) - {"__metadata__"}
        for name in names if not exported else ():
            stored_as = entries[name]["dtype"]
            if name.endswith((".weight", ".bias")) and stored_as not in (*FLOATS, "F64"):
                raise CheckpointError(
                    f"tensor {name} of {file} is stored as {stored_as}, not as a float",
                    hint="take the model's own weights, not quantised ones; bge-cpu makes its INT8 itself",
                )
        if seen & names:
            raise CheckpointError(
                f"tensors stand in more than one file of {file.parent}: {', '.join(sorted(seen & names))}"
            )
        seen |= names


def _weight_files(folder: Path) -> tuple[Path, ...]:
    """The single safetensors file, or the shards that the index names."""
    single, index = folder / TENSORS, folder / SHARDS
    if os.path.exists(single):
        return (single,)
    if not os.path.exists(index):
        raise refusals.no_weights(str(folder), _names(folder))
    names = sorted(set(_shard_names(index)))
    missing = [name for name in names if Path(name).name != name or not (folder / name).is_file()]
    if missing:
        raise CheckpointError(f"{index} names shards that are not in its folder: {', '.join(missing)}")
    return tuple(folder / name for name in names)


def _shard_names(index: Path) -> Iterable[str]:
    try:
        return [str(name) for name in read_object(index)["weight_map"].values()]
    except (KeyError, AttributeError) as error:
        raise CheckpointError(f"{index} has no weight_map") from error


def _names(folder: Path) -> list[str]:
    """The names of the files in a folder and in the folders right in it."""
    try:
        return [file.relative_to(folder).as_posix() for file in (*folder.glob("*"), *folder.glob("*/*"))]
    except OSError:
        return []
