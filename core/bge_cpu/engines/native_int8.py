"""Mode "native-int8": INT8 on our own kernels, run straight from the mapped artifact; the fastest mode.

The artifact holds the matrices in the layout that this kind of CPU multiplies (`kernels/pack.py`), so nothing is copied
or packed at load, and processes share its pages. Short pairs share a run; a thread without a run of its own helps the
others with theirs (`native/team.c`), so a lone pair uses every core. A pair's score has the same bits in any company.
"""

import ctypes
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bge_cpu.checkpoint import Checkpoint
from bge_cpu.checkpoint.architecture import Architecture
from bge_cpu.checkpoint.weights import Tensors, Weights
from bge_cpu.engines import Cancelled, TokenizedPair
from bge_cpu.engines.packing import pack, share_runs
from bge_cpu.errors import CheckpointError, InputError
from bge_cpu.kernels.library import Kernels, Library, library
from bge_cpu.kernels.model import Model, Scratch, Team, expected, why_not
from bge_cpu.kernels.pack import CLASSES, MatrixClass, pack_matrix
from bge_cpu.machine.pool import FairPool
from bge_cpu.quantization.artifacts import Recipe
from bge_cpu.quantization.balanced import Balanced
from bge_cpu.quantization.quantize import check_finite, quantize_rows, row_scales

VERSION = 1
"""Goes up when the same checkpoint would give other tensors."""

_TOKENS_PER_RUN = 256  # pairs share a run up to about so many; with more rows the matrices' kernels gain no more


def recipe(checkpoint: Checkpoint) -> Recipe:
    """How a checkpoint of a family that `Architecture` knows becomes this mode's artifact, for this kind of CPU.

    Raises:
        CheckpointError: Another architecture, or sizes that the kernels do not run.
        InputError: The kernels do not run on this CPU.
        MissingDependencyError: The kernels are not installed.
    """
    architecture, kind = _architecture(checkpoint), CLASSES[_kernels().kind]
    return Recipe(
        mode="native-int8",
        version=VERSION,
        cpu_class=kind.name,
        tensors=lambda: _tensors(checkpoint, architecture, kind),
    )


def from_file(checkpoint: Checkpoint, file: Path, *, threads: int) -> "NativeEngine":
    """The engine over an artifact's tensors.

    Raises:
        ArtifactError: They do not fit the configuration or the kernels.
    """
    architecture, kernels = _architecture(checkpoint), _kernels()
    weights = Weights([file])
    weights.expect_single_rows(architecture.word_embeddings)
    model = Model(library(), CLASSES[kernels.kind], architecture, weights)
    return NativeEngine(library(), kernels, model, position_offset=architecture.position_offset, threads=threads)


class NativeEngine:
    """Runs a model on the native kernels.

    Args:
        library: The shared library.
        kernels: Which of its kernels run.
        model: The model's tensors, in those kernels' layout.
        position_offset: The row of the position table that belongs to a pair's first token.
        threads: How many runs go on at once, and how many cores a lone one uses.
    """

    def __init__(self, library: Library, kernels: Kernels, model: Model, *, position_offset: int, threads: int) -> None:
        self._library, self._kernels, self._model = library, kernels, model
        self._offset, self._threads = position_offset, threads
        self._helpers = _Helpers(library) if threads > 1 else None
        self._pool = FairPool(threads, "bge-cpu", self._helpers)
        self._own = threading.local()

    def logits(self, pairs: Sequence[TokenizedPair], *, cancelled: Cancelled = None) -> NDArray[np.float32]:
        """One raw logit per pair, in input order, float32, (pairs,); the longest pairs run first.

        Calls that come together take turns, run by run. `cancelled` is asked every 50 ms, and heeded between layers.
        """
        stop = ctypes.c_int32(0)

        def watch() -> None:
            stop.value = stop.value or bool(cancelled and cancelled())

        watch()
        runs = share_runs([len(pair) for pair in pairs], self._threads, _TOKENS_PER_RUN)
        results = self._pool.map(
            lambda run: self._run([pairs[index] for index in run], stop), runs, watch=watch if cancelled else None
        )
        logits = np.empty(len(pairs), dtype=np.float32)
        for run, found in zip(runs, results, strict=True):
            logits[run] = found
        return logits

    def _run(self, pairs: Sequence[TokenizedPair], stop: ctypes.c_int32) -> NDArray[np.float32]:
        feed = pack(pairs, self._offset)
        run = [feed[name].astype(np.int32) for name in ("input_ids", "token_type_ids", "position_ids", "cu_seqlens")]
        team = None if self._helpers is None else self._helpers.team
        logits = None if stop.value else self._model.logits(self._kernels, run, self._scratch(), team=team, cancel=stop)
        if logits is None:
            raise CancelledError("the call was cancelled")
        return logits

    def _scratch(self) -> Scratch:
        """The calling thread's own memory."""
        if not hasattr(self._own, "scratch"):
            self._own.scratch = Scratch(self._library)
        scratch: Scratch = self._own.scratch
        return scratch


class _Helpers:
    """Idle threads of the pool as helpers of the runs under way; see `machine.pool.Helpers`."""

    def __init__(self, library: Library) -> None:
        self.team = Team(library)
        self._library = library
        self._own = threading.local()

    def begin(self) -> None:
        self.team.begin()

    def end(self) -> None:
        self.team.end()

    def recall(self) -> None:
        self.team.recall()

    def idle(self) -> Callable[[], None]:
        recalls = self.team.recalls  # of now: a recall that comes before the thread has begun counts

        def help_others() -> None:
            if not hasattr(self._own, "scratch"):
                self._own.scratch = Scratch(self._library)
            self.team.help(self._own.scratch, recalls)

        return help_others


def _kernels() -> Kernels:
    """The kernels that run on this CPU."""
    kernels = library().best()
    if kernels is None:
        raise InputError("mode 'native-int8' has no kernels for this CPU", hint='use mode="onnx-int8"')
    return kernels


def _architecture(checkpoint: Checkpoint) -> Architecture:
    """An architecture that the kernels run."""
    architecture = Architecture.from_config(checkpoint.config)
    if reason := why_not(architecture):
        raise CheckpointError(f"the native kernels do not run {checkpoint.name}: {reason}", hint='use mode="onnx-int8"')
    return architecture


def _tensors(checkpoint: Checkpoint, architecture: Architecture, kind: MatrixClass) -> tuple[int, Tensors]:
    """How many tensors the artifact has, and these one by one."""
    weights, shapes = Weights(checkpoint.weights), expected(architecture, kind)
    architecture.check(weights, checkpoint.folder)
    balanced = Balanced(weights)
    return len(shapes), _quantized(balanced, shapes, architecture, kind)


def _quantized(
    balanced: Balanced, shapes: Mapping[str, Any], architecture: Architecture, kind: MatrixClass
) -> Iterator[tuple[str, NDArray[Any]]]:
    """The tensors, each made when it is asked for, a matrix's codes before its sums and scales.

    All are multiples of 64 bytes, a cache line, but for the label's bias and perhaps the scales of the words, which
    therefore come last.
    """
    words, last = architecture.word_embeddings, f"{architecture.head[1]}.bias"
    scales = np.concatenate([row_scales(rows) for _, rows in balanced.blocks(words)])
    check_finite(scales, words)
    yield words, np.concatenate([quantize_rows(rows, scales[place]) for place, rows in balanced.blocks(words)])
    for name in shapes:
        if name in (words, last) or name.endswith((".scales", ".sums", ".multipliers")):
            continue
        if f"{name}.scales" not in shapes:
            yield name, balanced[name]
            continue
        packed = pack_matrix(balanced[name], kind)
        check_finite(packed.scales, name)
        yield name, packed.codes
        if packed.multipliers is not None:
            yield f"{name}.multipliers", packed.multipliers
        yield f"{name}.sums", packed.sums
        yield f"{name}.scales", packed.scales
    yield f"{words}.scales", scales
    yield last, balanced[last]
