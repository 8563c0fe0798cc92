"""Mode "onnx": float32 on ONNX Runtime, one unpadded pair per run on a pool of threads, straight from safetensors.

Nothing is written to disk and no weight is copied: the sessions read views of the mapped checkpoint, which processes
share. Padding is the largest waste on a CPU; a run of one pair needs none, and its score depends on nothing else.
"""

import contextlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from bge_cpu.architecture import Architecture
from bge_cpu.checkpoint import Checkpoint
from bge_cpu.errors import CheckpointError
from bge_cpu.graph import build
from bge_cpu.linear import Float32
from bge_cpu.tokenizer import TokenizedPair
from bge_cpu.weights import Weights


def load(checkpoint: Checkpoint, *, threads: int) -> "OnnxEngine":
    """Load an XLM-RoBERTa, RoBERTa or BERT checkpoint.

    Raises:
        CheckpointError: Another architecture, or tensors that do not fit the configuration.
    """
    architecture = Architecture.from_config(checkpoint.config)
    model, shapes = build(architecture, Float32())
    weights = Weights(checkpoint.weights)
    check_tensors(weights, shapes, checkpoint.folder)
    if any(f".encoder.layer.{architecture.layers}." in name for name in weights):
        raise CheckpointError(f"{checkpoint.folder} holds more layers than the {architecture.layers} its config says")
    weights.expect_single_rows(architecture.word_embeddings)
    # Prepacking would cost a copy of every matrix, and gain 5 %: the sessions read the mapped file as it is.
    return OnnxEngine(model, weights, shapes, threads=threads, prepack=False)


def check_tensors(weights: Weights, shapes: Mapping[str, tuple[int, ...]], source: Path) -> None:
    """Check that a graph finds the tensors it wants.

    Raises:
        CheckpointError: One is missing or of another shape.
    """
    for name, shape in shapes.items():
        if name not in weights:
            raise CheckpointError(f"{source} lacks the tensor {name}")
        if weights.shape(name) != shape:
            raise CheckpointError(f"tensor {name} of {source} has shape {weights.shape(name)}; its config says {shape}")


class OnnxEngine:
    """Runs a one-pair graph.

    Args:
        model: A graph from `input_ids` and `token_type_ids`, (tokens,), to `logit`.
        weights: Where the data of its initializers is read.
        names: Which tensors those are.
        threads: How many pairs run at once; a lone pair uses as many cores.
        prepack: Whether each session keeps a copy of its matrices in the kernels' own layout. It gives other last bits,
            so one choice holds for all sessions of a mode.
    """

    def __init__(
        self, model: onnx.ModelProto, weights: Weights, names: Iterable[str], *, threads: int, prepack: bool
    ) -> None:
        self._model = model.SerializeToString()
        self._weights = weights
        self._values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(weights[name]) for name in names}
        self._threads = threads
        self._prepack = prepack
        self._single = self._session(1)
        self._wide = self._single if threads == 1 else None  # made when it is first needed: it may cost memory
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="bge-cpu")
        self._lock = threading.Lock()
        self._calls = 0

    def logits(self, pairs: Sequence[TokenizedPair]) -> NDArray[np.float32]:
        """One raw logit per pair, in input order, float32, (pairs,); the longest pairs run first."""
        with self._lock:
            self._calls += 1
            alone = self._calls == 1
        try:
            if alone and 2 * len(pairs) <= self._threads:
                session = self._wide_session()
                return np.array([_run(session, pair) for pair in pairs], dtype=np.float32)
            longest_first = sorted(range(len(pairs)), key=lambda index: -len(pairs[index]))
            results = self._pool.map(lambda index: _run(self._single, pairs[index]), longest_first)
            logits = np.empty(len(pairs), dtype=np.float32)
            logits[longest_first] = list(results)
            return logits
        finally:
            with self._lock:
                self._calls -= 1

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
            return onnxruntime.InferenceSession(self._model, options, providers=["CPUExecutionProvider"])


def _run(session: onnxruntime.InferenceSession, pair: TokenizedPair) -> float:
    (logit,) = session.run(["logit"], {"input_ids": pair.ids, "token_type_ids": pair.type_ids})
    return float(logit[0, 0])
