"""Step 3 of a call: token ids -> logits. One module per mode; each imports its framework at its top.

A mode's module is named after it ("-" becomes "_") and is imported only when the mode is asked for. A mode that runs a
checkpoint as it is offers `load(checkpoint, threads=)`. An INT8 mode offers `recipe(checkpoint)`, how its artifact is
built, and `from_file(checkpoint, file, threads=)`, the engine over a built one; what lies between (obtain the artifact,
hold it to the gate, load it) is the same for all of them and stands in `gated.py`.
"""

import contextlib
import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from bge_cpu import extras
from bge_cpu.checkpoint import Checkpoint
from bge_cpu.errors import InputError, MissingDependencyError, shown
from bge_cpu.kernels.library import available
from bge_cpu.machine.cpu import available_cpus, features, omp_threads

MODES = {"fp32": "torch", "bf16": "torch", "int8": "torch", "onnx": None, "onnx-int8": None, "native-int8": None}
"""The modes, and the extra of bge-cpu that each needs."""

REFERENCES = {"int8": "fp32", "onnx-int8": "onnx", "native-int8": "onnx"}
"""The modes that run a built artifact, and so have a cache and a gate; and the float32 mode that each is held to."""

INT8_MODES = tuple(REFERENCES)


Cancelled = Callable[[], bool] | None
"""Asked from time to time by what computes for long: does nobody wait for the result any more?"""


@dataclass(frozen=True, slots=True, eq=False)
class TokenizedPair:
    """One pair as the model reads it.

    Attributes:
        ids: Token ids with special tokens, int64, (tokens,).
        type_ids: Token types, int64, (tokens,).
        truncated_tokens: How many tokens of query and document were cut off.
    """

    ids: NDArray[np.int64]
    type_ids: NDArray[np.int64]
    truncated_tokens: int

    def __len__(self) -> int:
        return len(self.ids)


Encode = Callable[[Sequence[tuple[str, str]]], Sequence[TokenizedPair]]
"""(query, document) pairs -> their token ids."""


class Engine(Protocol):
    """Runs a model over tokenized pairs; safe to call from many threads."""

    def logits(self, pairs: Sequence[TokenizedPair], *, cancelled: Cancelled = None) -> NDArray[np.float32]:
        """One raw logit per pair, in input order, float32, (pairs,).

        Args:
            pairs: What to run; [] gives an empty array.
            cancelled: Asked before each run of the model; once it says True, no more are started.

        Raises:
            concurrent.futures.CancelledError: `cancelled` said so.
        """


def default_mode() -> str:
    """The fastest mode on this CPU: "native-int8" where there are kernels for it, else "onnx-int8".

    On a CPU with AMX it is "onnx-int8": ONNX Runtime uses that CPU's matrix unit, our kernels do not.
    """
    return "native-int8" if available() and "amx_int8" not in features() else "onnx-int8"


def check_mode(mode: object) -> str:
    """A mode's name; None stands for the default.

    Raises:
        InputError: There is no such mode.
    """
    if mode is None:
        return default_mode()
    if mode in ("fp16", "half", "float16"):
        raise InputError(
            f"mode {mode!r} does not exist: CPUs multiply float16 by converting every value, so it is slower than fp32",
            hint='a float16 checkpoint runs as it is in any mode; for speed use mode="native-int8" or "onnx-int8"',
        )
    if not isinstance(mode, str) or mode not in MODES:
        raise InputError(f"mode is one of {', '.join(MODES)}, not {shown(mode)}")
    return mode


def thread_limit(threads: int | None) -> int | None:
    """How many threads our work may use at most: what was asked for, else OMP_NUM_THREADS where that is set.

    None means as many as there are CPUs for this process; OMP_NUM_THREADS never means more.
    """
    asked = omp_threads()
    return min(asked, available_cpus()) if threads is None and asked is not None else threads


def load_engine(
    mode: str,
    checkpoint: Checkpoint,
    *,
    encode: Encode,
    threads: int | None = None,
    cache_dir: Path | None = None,
    min_fidelity: float | None = None,
) -> Engine:
    """Load a checkpoint in a mode.

    Args:
        mode: One of `MODES`.
        checkpoint: What to load.
        encode: The model's tokenizer, for the texts that an INT8 mode's gate is measured on.
        threads: How many CPUs to use at most; None means OMP_NUM_THREADS, else all that the process may.
        cache_dir: Where the INT8 modes keep artifacts; None means the user's cache folder.
        min_fidelity: What the INT8 modes' gate asks for; None asks for nothing.

    Raises:
        MissingDependencyError: The mode's framework is not installed.
        CheckpointError: The mode cannot run this checkpoint.
        ArtifactError: The INT8 artifact cannot be built.
        FidelityError: INT8 would cost this checkpoint too much of its ranking.
    """
    threads = thread_limit(threads) or available_cpus()
    if mode not in REFERENCES:
        return cast(Engine, engine_module(mode).load(checkpoint, threads=threads))
    gated = importlib.import_module("bge_cpu.engines.gated")
    return cast(
        Engine,
        gated.load(mode, checkpoint, encode=encode, threads=threads, cache_dir=cache_dir, min_fidelity=min_fidelity),
    )


def engine_module(mode: str) -> ModuleType:
    """A mode's module, with its framework."""
    extra = MODES[mode]
    if extra == "torch":  # without this, transformers 4 imports TensorFlow where it finds it, and stumbles over Keras 3
        os.environ.setdefault("USE_TF", "0")
    if extra is None:  # without this, ONNX Runtime 1.32 writes into the user's cache folder and calls its maker
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    guard = contextlib.nullcontext() if extra is None else extras.needed(extra, f"mode {mode!r}")
    try:
        with guard:
            return importlib.import_module(f"bge_cpu.engines.{mode.replace('-', '_')}")
    except (MissingDependencyError, ModuleNotFoundError):
        raise
    except (ImportError, RuntimeError) as error:  # transformers wraps what goes wrong inside it in a RuntimeError
        raise MissingDependencyError(
            f"mode {mode!r} cannot import its framework: {(str(error) or type(error).__name__).splitlines()[-1]}",
            hint="if that names Keras or TensorFlow, start Python with USE_TF=0 or upgrade to transformers 5",
        ) from error
