"""Step 3: token ids -> logits. One module per mode; each imports its framework at its top and offers `load`.

A mode's module is named after it ("-" becomes "_") and is imported only when the mode is asked for.
"""

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from bge_cpu.checkpoint import Checkpoint
from bge_cpu.errors import InputError, MissingDependencyError
from bge_cpu.tokenizer import TokenizedPair

EXTRAS = {"fp32": "torch", "bf16": "torch", "int8": "torch", "onnx": None, "onnx-int8": None}
"""The modes, and the extra of bge-cpu that each needs."""

INT8_MODES = ("int8", "onnx-int8")
"""The modes that run a built artifact, and so have a cache and a gate."""

DEFAULT_MODE = "onnx-int8"


class Engine(Protocol):
    """Runs a model over tokenized pairs; safe to call from many threads."""

    def logits(self, pairs: Sequence[TokenizedPair]) -> NDArray[np.float32]:
        """One raw logit per pair, in input order, float32, (pairs,)."""


def check_mode(mode: object) -> str:
    """A mode's name; None stands for the default.

    Raises:
        InputError: There is no such mode.
    """
    if mode is None:
        return DEFAULT_MODE
    if mode in ("fp16", "half", "float16"):
        raise InputError(
            f"mode {mode!r} does not exist: CPUs multiply float16 by converting every value, so it is slower than fp32",
            hint='a float16 checkpoint runs as it is in any mode; for speed use mode="onnx-int8"',
        )
    if not isinstance(mode, str) or mode not in EXTRAS:
        raise InputError(f"mode is one of {', '.join(EXTRAS)}, not {mode!r}")
    return mode


def load_engine(
    mode: str, checkpoint: Checkpoint, *, threads: int, cache_dir: Path | None, min_fidelity: float | None
) -> Engine:
    """Load a checkpoint in a mode.

    Args:
        mode: One of `EXTRAS`.
        checkpoint: What to load.
        threads: How many CPUs to use at most.
        cache_dir: Where the INT8 modes keep artifacts.
        min_fidelity: What the INT8 modes' gate asks for.

    Raises:
        MissingDependencyError: The mode's framework is not installed.
        CheckpointError: The mode cannot run this checkpoint.
        ArtifactError: The INT8 artifact cannot be built.
        FidelityError: INT8 would cost this checkpoint too much of its ranking.
    """
    extra = EXTRAS[mode]
    if extra == "torch":  # else transformers 4 imports TensorFlow where it is installed, and stumbles over Keras 3
        os.environ.setdefault("USE_TF", "0")
    try:
        module = importlib.import_module(f"bge_cpu.engines.{mode.replace('-', '_')}")
    except ModuleNotFoundError as error:
        if extra is None or (error.name or "").startswith("bge_cpu"):
            raise
        raise MissingDependencyError(
            f"mode {mode!r} needs {error.name}, which is not installed", hint=f"pip install 'bge-cpu[{extra}]'"
        ) from error
    except (ImportError, RuntimeError) as error:  # transformers wraps what goes wrong inside it in a RuntimeError
        raise MissingDependencyError(
            f"mode {mode!r} cannot import its framework: {(str(error) or type(error).__name__).splitlines()[-1]}",
            hint="if that names Keras or TensorFlow, start Python with USE_TF=0 or upgrade to transformers 5",
        ) from error
    gated = {"cache_dir": cache_dir, "min_fidelity": min_fidelity} if mode in INT8_MODES else {}
    return cast(Engine, module.load(checkpoint, threads=threads, **gated))
