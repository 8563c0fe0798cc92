"""Mode "onnx": float32 on ONNX Runtime, one unpadded pair per run on a pool of threads, straight from safetensors.

Nothing is written to disk and no weight is copied: the sessions read views of the mapped checkpoint, which processes
share. Padding is the largest waste on a CPU; a run of one pair needs none, and its score depends on nothing else.
Short pairs may share a run where that changes no bit of a score: in INT8, but not in float32, whose sums depend on how
many rows there are.
"""

import contextlib
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from bge_cpu.checkpoint import Checkpoint
from bge_cpu.checkpoint.architecture import Architecture
from bge_cpu.checkpoint.weights import Weights
from bge_cpu.engines import Cancelled, TokenizedPair
from bge_cpu.engines.packing import pack, share_runs
from bge_cpu.graph import build
from bge_cpu.graph.linear import Float32
from bge_cpu.machine.forks import keep_in_forks
from bge_cpu.machine.pool import FairPool


def load(checkpoint: Checkpoint, *, threads: int) -> "OnnxEngine":
    """Load a checkpoint of a family that `Architecture` knows (XLM-RoBERTa, BERT and kin).

    Raises:
        CheckpointError: Another architecture, or tensors that do not fit the configuration.
    """
    architecture = Architecture.from_config(checkpoint.config)
    weights = Weights(checkpoint.weights)
    architecture.check(weights, checkpoint.folder)
    model, shapes = build(architecture, Float32())
    weights.expect_single_rows(architecture.word_embeddings)
    # Prepacking would cost a copy of every matrix, and gain 5 %: the sessions read the mapped file as it is.
    return OnnxEngine(model, weights, shapes, architecture, threads=threads, prepack=False, tokens_per_run=0)


class OnnxEngine:
    """Runs a graph of packed pairs.

    Args:
        model: A graph whose inputs are those of `graph.feed.Packed`.
        weights: The tensors that the graph names but does not hold.
        names: The names of these tensors.
        architecture: What the graph was built for.
        threads: How many pairs run at once; a lone pair uses as many cores.
        prepack: Whether each session keeps a copy of its matrices in the kernels' own layout. It gives other last bits,
            so one choice holds for all sessions of a mode.
        tokens_per_run: Pairs share a run up to about so many tokens; longer ones, and all with 0, run alone.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        weights: Weights,
        names: Iterable[str],
        architecture: Architecture,
        *,
        threads: int,
        prepack: bool,
        tokens_per_run: int,
    ) -> None:
        self._model = model.SerializeToString()
        self._weights = weights
        self._values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(weights[name]) for name in names}
        self._offset = architecture.position_offset
        self._threads = threads
        self._prepack = prepack
        self._tokens_per_run = tokens_per_run
        self._single = self._session(1)
        self._wide = self._single if threads == 1 else None  # made when it is first needed: it may cost memory
        self._pool = FairPool(threads, "bge-cpu")
        self._lock = threading.Lock()
        self._calls = 0

    def logits(self, pairs: Sequence[TokenizedPair], *, cancelled: Cancelled = None) -> NDArray[np.float32]:
        """One raw logit per pair, in input order, float32, (pairs,); the longest pairs run first.

        Calls that come together take turns, run by run. `cancelled` is asked before each run.
        """
        with self._lock:
            self._calls += 1
            alone = self._calls == 1
        try:
            if alone and 2 * len(pairs) <= self._threads:
                session = self._wide_session()
                return np.array([self._run(session, [pair], cancelled)[0] for pair in pairs], dtype=np.float32)
            runs = share_runs([len(pair) for pair in pairs], self._threads, self._tokens_per_run)
            results = self._pool.map(
                lambda run: self._run(self._single, [pairs[index] for index in run], cancelled), runs
            )
            logits = np.empty(len(pairs), dtype=np.float32)
            for run, found in zip(runs, results, strict=True):
                logits[run] = found
            return logits
        finally:
            with self._lock:
                self._calls -= 1

    def _run(
        self, session: onnxruntime.InferenceSession, pairs: Sequence[TokenizedPair], cancelled: Cancelled
    ) -> NDArray[np.float32]:
        if cancelled and cancelled():
            raise CancelledError("the call was cancelled")
        (logits,) = session.run(["logits"], pack(pairs, self._offset))
        return cast(NDArray[np.float32], logits[:, 0])

    def _wide_session(self) -> onnxruntime.InferenceSession:
        with self._lock:
            if self._wide is None:
                self._wide = self._session(self._threads)
            return self._wide

    def _session(self, threads: int) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # ALL would fuse Add and LayerNormalization into SkipLayerNormalization, whose CPU kernel is ten times slower.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        # Memory plans are kept per input shape, and every length is a new one.
        options.enable_mem_pattern = False
        options.add_session_config_entry("session.disable_prepacking", "0" if self._prepack else "1")
        options.add_session_config_entry("session.force_spinning_stop", "1")
        # The graph calls its data external, so ONNX Runtime wants a place for it that exists; it reads nothing there.
        here = str(Path(__file__).parent)
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", here)
        for name, value in self._values.items():
            options.add_initializer(name, value)
        with self._weights.released_meanwhile() if self._prepack else contextlib.nullcontext():
            session = onnxruntime.InferenceSession(self._model, options, providers=["CPUExecutionProvider"])
        keep_in_forks(session)  # its end waits for its threads
        return session
