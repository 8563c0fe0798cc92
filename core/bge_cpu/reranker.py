"""The whole path on one screen: pairs -> tokens -> logits -> scores -> ranking."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bge_cpu.checkpoint import open_checkpoint
from bge_cpu.engines import Cancelled, Engine, check_mode, load_engine, thread_limit
from bge_cpu.errors import BgeCpuError, InputError, warn
from bge_cpu.inputs import (
    DEFAULT_MIN_FIDELITY,
    DEFAULT_MODEL,
    check_count,
    check_documents,
    check_folder,
    check_long_documents,
    check_normalize,
    check_pair,
    check_query,
    check_share,
    fit_max_length,
)
from bge_cpu.ranking import Ranked, Ranking, normalized, order
from bge_cpu.scoring import Scored, best_logits, take, truncated_pairs
from bge_cpu.tokenizer import PairTokenizer, probe_encoder

_MOST_THREADS = 1024
_STREAMED_AT_ONCE = 32  # pairs read from a stream before their scores are given


class Reranker:
    """Scores (query, document) pairs with a cross-encoder on the CPU; safe to call from many threads.

    One that `load` made can be pickled: it loads again, the same commit in the same mode, where it is unpickled.

    Args:
        tokenizer: Turns pairs into token ids.
        engine: Turns token ids into logits.
        model: What the engine runs, for traces and messages.
        mode: In which mode.
    """

    def __init__(
        self, tokenizer: PairTokenizer, engine: Engine, *, model: str | None = None, mode: str | None = None
    ) -> None:
        self.model = model
        self.mode = mode
        self.tokenizer = tokenizer
        self.engine = engine
        self._process = os.getpid()
        self._load_again: Callable[[], Reranker] | None = None

    def __repr__(self) -> str:
        return f"Reranker({self.model!r}, mode={self.mode!r}, max_length={self.tokenizer.max_length})"

    def __copy__(self) -> "Reranker":
        return self  # nothing of it ever changes, and a second one would take as much memory again

    def __deepcopy__(self, memo: dict[int, Any]) -> "Reranker":
        return self

    def __reduce__(self) -> tuple[Callable[[], "Reranker"], tuple[()]]:
        if self._load_again is None:
            raise BgeCpuError(
                "a Reranker that was put together from parts cannot be pickled",
                hint="one that Reranker.load made can: it loads again where it is unpickled",
            )
        return self._load_again, ()

    @classmethod
    def load(
        cls,
        model: str | Path = DEFAULT_MODEL,
        *,
        mode: str | None = None,
        max_length: int | None = None,
        threads: int | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        cache_dir: str | Path | None = None,
        min_fidelity: float | None = DEFAULT_MIN_FIDELITY,
    ) -> "Reranker":
        """Load a checkpoint.

        Args:
            model: A Hub id, a checkpoint folder, or "mini", the bundled checkpoint.
            mode: "native-int8", on our own kernels; "onnx-int8" or "onnx" (float32), on ONNX Runtime; "fp32", "bf16" or
                "int8", on PyTorch, which needs the extra `torch`. None means the mode that an exported folder records,
                else "native-int8" where its kernels run on this CPU, else "onnx-int8".
            max_length: Tokens per pair at most, special tokens counted; the rest is cut off, and a warning says so.
                None means the smaller of 512 and the model's limit.
            threads: CPUs to use at most; None means OMP_NUM_THREADS where it is set, and no more than affinity and the
                cgroup's quota leave to the process.
            revision: A Hub branch, tag or commit.
            local_files_only: Never call the Hub; HF_HUB_OFFLINE=1 means the same.
            cache_dir: Where INT8 artifacts are kept; None means the user's cache folder. The Hub's cache is the Hub's.
            min_fidelity: The least Spearman correlation, 0..1, of an INT8 mode's scores with float32's on the built-in
                probe; None loads whatever it is.

        Raises:
            InputError: An option is of the wrong type or value.
            CheckpointError: The checkpoint cannot be found, read or run in this mode.
            MissingDependencyError: The mode's framework is not installed.
            ArtifactError: The INT8 artifact cannot be built.
            FidelityError: INT8 would cost this checkpoint too much of its ranking.
        """
        options = {name: value for name, value in locals().items() if name != "cls"}  # as they came
        if mode is not None:
            check_mode(mode)
        threads = thread_limit(None if threads is None else check_count(threads, "threads", most=_MOST_THREADS))
        if max_length is not None:
            check_count(max_length, "max_length")
        check_share(min_fidelity, "min_fidelity")
        cache_dir = check_folder(cache_dir, "cache_dir")
        checkpoint = open_checkpoint(model, revision=revision, local_files_only=local_files_only)
        if checkpoint.exported_mode and mode not in (None, checkpoint.exported_mode):
            raise InputError(f"{checkpoint.name} was exported for mode {checkpoint.exported_mode!r}, not {mode!r}")
        longest = fit_max_length(max_length, checkpoint.max_length, checkpoint.name)
        tokenizer = PairTokenizer.load(checkpoint.tokenizer, longest, threads=threads)
        checkpoint.check_tokenizer(tokenizer.vocabulary, tokenizer.token_types)
        mode = check_mode(mode or checkpoint.exported_mode)
        engine = load_engine(
            mode,
            checkpoint,
            encode=probe_encoder(checkpoint, threads=threads),
            threads=threads,
            cache_dir=cache_dir,
            min_fidelity=min_fidelity,
        )
        reranker = cls(tokenizer, engine, model=checkpoint.name, mode=mode)
        options |= {"mode": mode, "revision": checkpoint.commit or revision}  # what was found, not to be found anew
        reranker._load_again = partial(cls.load, **options)
        return reranker

    def score(self, pairs: Iterable[tuple[str, str]], *, normalize: str | None = None) -> list[float]:
        """Score pairs, in input order.

        Args:
            pairs: (query, document) pairs; [] gives [].
            normalize: None for raw logits, "sigmoid" for 0..1 each, "softmax" for shares among all pairs of the call.

        Raises:
            InputError: A pair or option is of the wrong type or value; nothing was scored.
            CheckpointError: The model gave a pair no finite logit.
        """
        check_normalize(normalize)
        if isinstance(pairs, str | bytes) or not isinstance(pairs, Iterable):
            raise InputError(f"pairs is a list of (query, document), not {type(pairs).__name__}")
        scored = self._scored([check_pair(pair, index) for index, pair in enumerate(pairs)])
        self._warn_of_truncation(truncated_pairs(scored))
        return normalized([item.logit for item in scored], normalize)

    def rank(
        self,
        query: str,
        documents: Iterable[str],
        *,
        top_n: int | None = None,
        normalize: str | None = "sigmoid",
        long_documents: str = "truncate",
        cancelled: Cancelled = None,
    ) -> Ranking:
        """Rank documents by their relevance to a query, highest first, ties in input order.

        Args:
            query: What is asked.
            documents: Texts; an empty one is scored like any other, [] gives an empty ranking.
            top_n: How many to return; None returns all.
            normalize: As in `score`; "softmax" gives shares among all documents, returned or not.
            long_documents: What becomes of a document longer than max_length: "truncate" cuts it; "windows" scores
                overlapping windows, at one pair's cost each, and takes the best one's score and `span`.
            cancelled: Asked from time to time; once it says True, the call ends and no more pairs are run.

        Raises:
            InputError: An argument is of the wrong type or value; nothing was scored.
            CheckpointError: The model gave a pair no finite logit.
            concurrent.futures.CancelledError: `cancelled` said so.
        """
        check_normalize(normalize)
        check_long_documents(long_documents)
        top_n = None if top_n is None else check_count(top_n, "top_n")
        query, documents = check_query(query), check_documents(documents)
        self._check_process()
        pairs = [(query, document) for document in documents]
        windows = self.tokenizer.windows(pairs, whole=long_documents == "windows")
        scored = best_logits(self.engine, windows, pairs, cancelled=cancelled)
        self._warn_of_truncation(truncated_pairs(scored))
        logits = [item.logit for item in scored]
        scores = normalized(logits, normalize)
        best = order(logits, top_n)
        ranked = zip(best, [scored[index] for index in best], strict=True)
        return Ranking(
            [Ranked(index, scores[index], documents[index], item.truncated_tokens, item.span) for index, item in ranked]
        )

    def score_stream(self, pairs: Iterable[tuple[str, str]], *, normalize: str | None = None) -> Iterator[float]:
        """Score pairs of any iterable, in its order, in bounded memory; pairs are read a few at a time.

        When a pair is wrong, or reading the pairs fails, the scores of all pairs before it come first.

        Args:
            pairs: (query, document) pairs, as many as you like.
            normalize: None or "sigmoid"; "softmax" needs all logits at once and is refused.

        Raises:
            InputError: A pair or option is of the wrong type or value.
            CheckpointError: The model gave a pair no finite logit.
        """
        check_normalize(normalize, allowed=("sigmoid",))
        if isinstance(pairs, str | bytes) or not isinstance(pairs, Iterable):
            raise InputError(f"pairs is an iterable of (query, document), not {type(pairs).__name__}")
        return self._stream(pairs, normalize)

    def _stream(self, pairs: Iterable[tuple[str, str]], normalize: str | None) -> Iterator[float]:
        source = (check_pair(pair, index) for index, pair in enumerate(pairs))
        done = truncated = 0
        try:
            while True:
                chunk, failure = take(source, _STREAMED_AT_ONCE)
                found = self._scored(chunk, first=done)
                done += len(chunk)
                truncated += truncated_pairs(found)
                yield from normalized([item.logit for item in found], normalize)
                if failure is not None:
                    raise failure
                if not chunk:
                    break
        except GeneratorExit:  # left early; an error, by contrast, speaks for itself
            self._warn_of_truncation(truncated)
            raise
        self._warn_of_truncation(truncated)

    def _scored(self, pairs: Sequence[tuple[str, str]], *, first: int = 0) -> list[Scored]:
        """Checked pairs -> token ids -> logits; `first` is the first one's number in error messages."""
        self._check_process()
        return best_logits(self.engine, self.tokenizer.windows(pairs, whole=False), pairs, first=first)

    def _warn_of_truncation(self, pairs: int) -> None:
        if pairs:
            limit = self.tokenizer.max_length
            warn(f"cut to max_length={limit} tokens: {pairs:,} of the pairs; see Ranked.truncated_tokens")

    def _check_process(self) -> None:
        if os.getpid() != self._process:  # the engine's threads are not here; waiting for them would hang
            spawn = ", or start processes with the method 'spawn', where it loads again" if self._load_again else ""
            raise BgeCpuError(
                "this reranker was loaded before the process forked, and its threads stayed behind",
                hint=f"load it in the child process{spawn}",
            )
