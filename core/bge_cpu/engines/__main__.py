"""Run as `python -m bge_cpu.engines`: the child process in which the gate's two engines run, one after the other.

It is told on stdin which INT8 mode and artifact to run over which pairs, and writes two lists to stdout as JSON: the
logits of the mode's float32 reference, and the artifact's.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bge_cpu.checkpoint import Checkpoint
from bge_cpu.engines import REFERENCES, TokenizedPair, engine_module


def measure(task: dict[str, Any]) -> tuple[list[float], list[float]]:
    """The reference's logits and the artifact's."""
    files: dict[str, Any] = task["checkpoint"]
    files |= {"folder": Path(files["folder"]), "weights": tuple(map(Path, files["weights"]))}
    checkpoint, threads = Checkpoint(**files), task["threads"]
    pairs = [TokenizedPair(np.array(ids), np.array(types), 0) for ids, types in task["pairs"]]
    reference = engine_module(REFERENCES[task["mode"]]).load(checkpoint, threads=threads)
    expected = reference.logits(pairs).tolist()
    del reference  # so that the two are never in memory together
    engine = engine_module(task["mode"]).from_file(checkpoint, Path(task["artifact"]), threads=threads)
    return expected, engine.logits(pairs).tolist()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(json.load(sys.stdin))))
