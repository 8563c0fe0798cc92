"""Mode "fp32": float32 on PyTorch through transformers; the reference that the other modes are held to.

It takes any one-label sequence classifier that transformers itself ships.
"""

import contextlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

import numpy as np
import torch
from huggingface_hub.constants import HF_HUB_DISABLE_PROGRESS_BARS
from numpy.typing import NDArray
from transformers import CONFIG_MAPPING, AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import logging

from bge_cpu.checkpoint import Checkpoint
from bge_cpu.checkpoint.weights import OTHER_TENSORS
from bge_cpu.engines import Cancelled, TokenizedPair
from bge_cpu.errors import CheckpointError
from bge_cpu.machine.pool import FairPool

P = ParamSpec("P")
T = TypeVar("T")


def load(checkpoint: Checkpoint, *, threads: int, batch_pairs: int = 8, batch_tokens: int = 4096) -> "TorchEngine":
    """Load a checkpoint with transformers, from safetensors, without remote code.

    Args:
        checkpoint: What to load.
        threads: How many CPUs PyTorch uses at most.
        batch_pairs: Pairs per batch at most.
        batch_tokens: Tokens per batch at most, padding counted; a longer pair runs alone.

    Raises:
        CheckpointError: transformers cannot build the model, or the checkpoint lacks some of its tensors.
    """
    model = load_model(checkpoint, torch.float32)
    return TorchEngine(model, threads=threads, batch_pairs=batch_pairs, batch_tokens=batch_tokens)


def apart(function: Callable[P, T]) -> Callable[P, T]:
    """Make a function run in the one thread of this process in which all our work with PyTorch is done.

    PyTorch's number of threads is the process's, and a batch keeps them all busy, so one call runs at a time. And these
    threads belong to the thread that works: were it one that forks, the forked process would wait for them for ever.
    """

    @wraps(function)
    def there(*arguments: P.args, **keywords: P.kwargs) -> T:
        (result,) = _thread(os.getpid()).map(lambda _: function(*arguments, **keywords), [None])
        return result

    return there


@lru_cache(maxsize=1)
def _thread(process: int) -> FairPool:
    """One thread, on which calls take turns; a forked process gets its own."""
    return FairPool(1, f"bge-cpu-torch-{process}")


@apart
def load_model(checkpoint: Checkpoint, dtype: torch.dtype) -> PreTrainedModel:
    """Load a sequence classifier from safetensors, without remote code.

    Raises:
        CheckpointError: transformers cannot build the model, or the checkpoint lacks some of its tensors.
    """
    try:
        with _bars_on_terminals_only():
            model, report = AutoModelForSequenceClassification.from_pretrained(
                checkpoint.folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=dtype,
                output_loading_info=True,
            )
    except Exception as error:  # whatever a strange config.json sets off in there
        if checkpoint.config.get("auto_map") and checkpoint.config.get("model_type") not in CONFIG_MAPPING:
            raise CheckpointError(
                f"transformers cannot load {checkpoint.folder}: it needs code of its own (auto_map in config.json), "
                "which is never run",
                hint="take a model whose code transformers itself has",
            ) from error
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        if "ignore_mismatched_sizes" in reason:  # an option of transformers, which points to a report that it logged
            reason = "its tensors have other shapes than config.json says"
        raise CheckpointError(f"transformers cannot load {checkpoint.folder}: {reason}") from error
    if missing := sorted(report["missing_keys"]):
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise CheckpointError(
            f"{checkpoint.folder} lacks the tensors {', '.join(missing[:3])}{more}, which would be left at random",
            hint=OTHER_TENSORS,
        )
    if any(".layer." in name for name in report["unexpected_keys"]):
        raise CheckpointError(f"{checkpoint.folder} holds more layers than its config says")
    return model


@contextlib.contextmanager
def _bars_on_terminals_only() -> Iterator[None]:
    """Keep transformers' loading bars out of files and logs, unless HF_HUB_DISABLE_PROGRESS_BARS asks for them."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    silenced = not terminal and HF_HUB_DISABLE_PROGRESS_BARS is None and logging.is_progress_bar_enabled()
    if silenced:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if silenced:
            logging.enable_progress_bar()


_PADDED = {"albert", "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "mpnet", "roberta"}
_PADDED |= {"modernbert", "xlm-roberta", "xlm-roberta-xl"}
"""Model types known to read nothing from padding; all others run in batches of equal length."""


class TorchEngine:
    """Runs a transformers model over batches, padded where the model allows it, the longest pairs first.

    Args:
        model: A sequence classifier with one label.
        threads: How many CPUs PyTorch uses at most.
        batch_pairs: Pairs per batch at most.
        batch_tokens: Tokens per batch at most, padding counted; a longer pair runs alone.
    """

    def __init__(self, model: PreTrainedModel, *, threads: int, batch_pairs: int, batch_tokens: int) -> None:
        self._model = model.eval()
        self._typed = "token_type_ids" in inspect.signature(model.forward).parameters
        self._threads = threads
        self._pad = getattr(model.config, "pad_token_id", None)
        self._batch_pairs = 1 if self._pad is None else batch_pairs  # a decoder finds a pair's end by its padding
        self._batch_tokens = batch_tokens
        self._padded = self._pad is not None and model.config.model_type in _PADDED

    def logits(self, pairs: Sequence[TokenizedPair], *, cancelled: Cancelled = None) -> NDArray[np.float32]:
        """One raw logit per pair, in input order, float32, (pairs,); `cancelled` is asked before each batch."""
        logits = np.empty(len(pairs), dtype=np.float32)
        for batch in self._batches(pairs):
            if cancelled and cancelled():
                raise CancelledError("the call was cancelled")
            logits[batch] = self._run([pairs[index] for index in batch])
        return logits

    def _batches(self, pairs: Sequence[TokenizedPair]) -> Iterator[list[int]]:
        """The pairs' indices, longest first, so that neighbours in a batch are of like length."""
        batch: list[int] = []
        for index in sorted(range(len(pairs)), key=lambda index: -len(pairs[index])):
            longest = len(pairs[batch[0]]) if batch else len(pairs[index])
            full = len(batch) == self._batch_pairs or longest * (len(batch) + 1) > self._batch_tokens
            if batch and (full or (not self._padded and len(pairs[index]) < longest)):
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch

    @apart
    def _run(self, pairs: Sequence[TokenizedPair]) -> NDArray[np.float32]:
        longest = max(map(len, pairs))
        ids = np.full((len(pairs), longest), self._pad or 0)
        types, mask = np.zeros_like(ids), np.zeros_like(ids)
        for row, pair in enumerate(pairs):
            ids[row, : len(pair)], types[row, : len(pair)], mask[row, : len(pair)] = pair.ids, pair.type_ids, 1
        inputs = {"input_ids": ids, "attention_mask": mask} | ({"token_type_ids": types} if self._typed else {})
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                output = self._model(**{name: torch.from_numpy(array) for name, array in inputs.items()})
        except Exception as error:  # whatever a strange config.json or damaged weights set off in there
            reason = (str(error) or type(error).__name__).strip().splitlines()[0]
            if isinstance(error, MemoryError) or "allocate memory" in reason:  # the machine's lack, not the model's
                raise
            raise CheckpointError(f"the model cannot run pairs of {longest:,} tokens: {reason}") from error
        finally:
            torch.set_num_threads(before)
        logits: NDArray[np.float32] = output.logits[:, 0].float().numpy()
        return logits
