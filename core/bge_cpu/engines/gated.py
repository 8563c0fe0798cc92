"""An INT8 mode from checkpoint to engine: obtain the artifact, hold it to the gate, load it; the same for all of them.

It is imported only when an INT8 mode is asked for: locks, hashes and progress bars are nothing the others need.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import cast

import numpy as np

from bge_cpu.checkpoint import Checkpoint
from bge_cpu.checkpoint.record import TENSORS
from bge_cpu.engines import Encode, Engine, TokenizedPair, engine_module
from bge_cpu.errors import ArtifactError
from bge_cpu.machine import children
from bge_cpu.quantization import fidelity
from bge_cpu.quantization.artifacts import Recipe, check_exported, obtain
from bge_cpu.quantization.cache import FIDELITY
from bge_cpu.quantization.probe import PAIRS
from bge_cpu.quantization.telling import tell


def load(
    mode: str,
    checkpoint: Checkpoint,
    *,
    encode: Encode,
    threads: int,
    cache_dir: Path | None,
    min_fidelity: float | None,
) -> Engine:
    """Load a checkpoint in an INT8 mode; arguments and errors are those of `load_engine`."""
    made = artifact(mode, checkpoint, encode=encode, threads=threads, cache_dir=cache_dir, min_fidelity=min_fidelity)
    with made as folder:
        return cast(Engine, engine_module(mode).from_file(checkpoint, folder / TENSORS, threads=threads))


@contextlib.contextmanager
def artifact(
    mode: str,
    checkpoint: Checkpoint,
    *,
    encode: Encode,
    threads: int,
    cache_dir: Path | None,
    min_fidelity: float | None,
) -> Iterator[Path]:
    """The folder of a checkpoint's INT8 artifact, built if need be, that has passed the gate.

    The arguments and errors are those of `load_engine`. An exported folder is its own artifact; what it was made from
    is not there to measure it against once more.
    """
    recipe: Recipe = engine_module(mode).recipe(checkpoint)
    with _whole(checkpoint, recipe, cache_dir, threads) as folder:
        if folder != checkpoint.folder or _measured_before(folder):
            fidelity.gate(
                folder,
                f"{mode} of {checkpoint.name}",
                min_fidelity=min_fidelity,
                measure=lambda: _measured_apart(mode, checkpoint, folder, encode(PAIRS), threads),
            )
        yield folder


def _measured_before(exported: Path) -> bool:
    """Whether an exported folder holds figures of its fidelity; one whose artifact was never measured has none.

    Raises:
        ArtifactError: What it holds in their place is damaged.
    """
    if not os.path.lexists(exported / FIDELITY):
        return False
    if fidelity.read(exported) is None:
        raise ArtifactError(f"{exported / FIDELITY} is damaged, or another artifact's", hint="export the folder again")
    return True


def _whole(
    checkpoint: Checkpoint, recipe: Recipe, cache_dir: Path | None, threads: int
) -> contextlib.AbstractContextManager[Path]:
    """The folder of an artifact that is whole, not yet held to the gate: an exported folder's own, or the cache's."""
    if checkpoint.exported_mode != recipe.mode:
        return obtain(checkpoint, recipe, cache_dir=cache_dir, threads=threads)
    check_exported(checkpoint, recipe, threads=threads)
    return contextlib.nullcontext(checkpoint.folder)


def _measured_apart(
    mode: str, checkpoint: Checkpoint, folder: Path, pairs: Sequence[TokenizedPair], threads: int
) -> tuple[fidelity.Logits, fidelity.Logits]:
    """The reference's logits of some pairs, and the artifact's, from a child process: its engines' memory goes with it.

    Raises:
        ArtifactError: The child failed.
    """
    weights = sum(file.stat().st_size for file in checkpoint.weights)
    tell(f"comparing {mode} of {checkpoint.name} with float32 on {len(pairs)} pairs", weights)
    files = {"folder": str(checkpoint.folder), "weights": list(map(str, checkpoint.weights))}
    task = {
        "mode": mode,
        "checkpoint": asdict(checkpoint) | files,
        "artifact": str(folder / TENSORS),
        "threads": threads,
        "pairs": [[pair.ids.tolist(), pair.type_ids.tolist()] for pair in pairs],
    }
    try:
        reference, found = children.ask("bge_cpu.engines.measured", task)
    except children.ChildFailed as error:
        raise ArtifactError(
            f"the fidelity of {folder} could not be measured: {error.args[0]}",
            hint=error.hint or "it takes 2.2 GB of memory for v2-m3; min_fidelity=None loads without measuring",
        ) from error
    return np.array(reference, np.float32), np.array(found, np.float32)
