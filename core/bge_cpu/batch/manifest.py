"""manifest.json: what is run on what; a second start on the same folder must say the same in all that counts."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bge_cpu.batch.flow import How
from bge_cpu.batch.sources.source import Source
from bge_cpu.checkpoint import Checkpoint
from bge_cpu.engines import MODES
from bge_cpu.errors import InputError
from bge_cpu.machine.cpu import features

_VECTORS = frozenset(
    {"avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16"}
    | {"asimddp", "i8mm", "bf16"}
)
"""Instruction sets by which the engines choose their kernels, whose sums differ in the last bits."""

FORMAT = 1
"""The version of the folder's layout."""

_PACKAGES = ("bge-cpu", "onnxruntime", "tokenizers")
_TORCH_PACKAGES = ("bge-cpu", "torch", "transformers", "tokenizers")


def describe(source: Source, checkpoint: Checkpoint, mode: str, max_length: int, how: How) -> dict[str, Any]:
    """What decides over the results, to the bit."""
    return {
        "format": FORMAT,
        "input": {"kind": source.kind, "rows": source.rows, "files": source.fingerprint()},
        "model": {"name": checkpoint.name, "fingerprint": checkpoint.fingerprint()},
        "mode": mode,
        "options": {"max_length": max_length, **asdict(how), "shard_size": source.shard_size},
    } | surroundings(mode)


def surroundings(mode: str) -> dict[str, Any]:
    """What of this machine and its software may decide over the last bits of a score."""
    packages = _TORCH_PACKAGES if MODES[mode] == "torch" else _PACKAGES
    return {"versions": {name: _version(name) for name in packages}, "cpu": sorted(features() & _VECTORS)}


def check_same(found: Mapping[str, Any], asked: Mapping[str, Any], folder: str) -> None:
    """Refuse a folder that holds another run's shards.

    Raises:
        InputError: It says what differs.
    """
    differences = list(_differences(found, asked, ""))
    if differences:
        raise InputError(
            f"{folder} holds another run: {'; '.join(differences)}",
            hint="give this run a folder of its own, or delete that one",
        )


def _differences(found: Any, asked: Any, name: str) -> Iterator[str]:
    """What differs, in words; a model's name may, if its content does not."""
    if isinstance(found, Mapping) and isinstance(asked, Mapping):
        for key in dict.fromkeys([*found, *asked]):
            if f"{name}{key}" != "model.name":
                yield from _differences(found.get(key), asked.get(key), f"{name}{key}.")
    elif found != asked and name == "input.files.":
        yield "the input's content is another"
    elif found != asked and name == "model.fingerprint.":
        yield "the model is another, or its files were changed"
    elif found != asked:
        yield f"{name.removesuffix('.')} was {found!r} and is {asked!r}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
