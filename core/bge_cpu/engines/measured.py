"""What the gate's child process does: run both engines over the probe, the float32 reference and then the artifact."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bge_cpu.checkpoint import Checkpoint
from bge_cpu.engines import REFERENCES, TokenizedPair, engine_module


def answers(task: dict[str, Any]) -> Iterator[tuple[list[float], list[float]]]:
    """One answer: the reference's logits and the artifact's."""
    files: dict[str, Any] = task["checkpoint"]
    files |= {"folder": Path(files["folder"]), "weights": tuple(map(Path, files["weights"]))}
    checkpoint, threads = Checkpoint(**files), task["threads"]
    pairs = [TokenizedPair(np.array(ids), np.array(types), 0) for ids, types in task["pairs"]]
    reference = engine_module(REFERENCES[task["mode"]]).load(checkpoint, threads=threads)
    expected = reference.logits(pairs).tolist()
    del reference  # so that the two are never in memory together
    engine = engine_module(task["mode"]).from_file(checkpoint, Path(task["artifact"]), threads=threads)
    yield expected, engine.logits(pairs).tolist()
