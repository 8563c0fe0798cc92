"""Steps 2 and 3 in bounded memory: texts -> tokens -> logits, some pairs at a time, every logit checked."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from itertools import islice
from typing import Any

from bge_cpu.engines import Engine
from bge_cpu.errors import CheckpointError
from bge_cpu.tokenizer import PairTokenizer, TokenizedPair

_PAIRS_AT_ONCE = 1024  # tokenised together; bounds the memory of a million pairs

Cancelled = Callable[[], bool] | None


def pair_logits(
    tokenizer: PairTokenizer,
    engine: Engine,
    pairs: Sequence[tuple[str, str]],
    *,
    first: int = 0,
    cancelled: Cancelled = None,
) -> tuple[list[float], list[int]]:
    """The pairs' logits, and how many tokens of each were cut off.

    Args:
        tokenizer: Turns pairs into token ids.
        engine: Turns token ids into logits.
        pairs: Checked (query, document) pairs.
        first: The number of the first pair in error messages.
        cancelled: Asked before a pair is run; once it says True, no more are.

    Raises:
        CheckpointError: The model gave a pair no finite logit.
        CancelledError: `cancelled` said so.
    """
    logits: list[float] = []
    cut: list[int] = []
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        tokenized = tokenizer.encode(pairs[start : start + _PAIRS_AT_ONCE])
        logits += _run(engine, tokenized, cancelled)
        cut += [pair.truncated_tokens for pair in tokenized]
    for index, logit in enumerate(logits):
        _check(logit, first + index, pairs[index])
    return logits, cut


def window_logits(
    tokenizer: PairTokenizer,
    engine: Engine,
    query: str,
    documents: Sequence[str],
    *,
    cancelled: Cancelled = None,
) -> tuple[list[float], list[int], list[tuple[int, int]]]:
    """For each document the logit of its best window (the first of equals), cut tokens, and that window's characters.

    The arguments and errors are those of `pair_logits`. No document is cut, so the tokens are the query's.
    """
    logits = [-math.inf] * len(documents)
    cut = [0] * len(documents)
    spans = [(0, 0)] * len(documents)
    for start in range(0, len(documents), _PAIRS_AT_ONCE):
        windows = tokenizer.windows(query, documents[start : start + _PAIRS_AT_ONCE])
        while some := list(islice(windows, _PAIRS_AT_ONCE)):
            for window, logit in zip(some, _run(engine, [window.pair for window in some], cancelled), strict=True):
                index = start + window.document
                _check(logit, index, (query, documents[index]))
                cut[index] = window.pair.truncated_tokens
                if logit > logits[index]:
                    logits[index], spans[index] = logit, window.span
    return logits, cut, spans


def _run(engine: Engine, pairs: Sequence[TokenizedPair], cancelled: Cancelled) -> list[float]:
    logits: list[float] = engine.logits(_Watched(pairs, cancelled) if cancelled else pairs).tolist()
    return logits


class _Watched(Sequence[TokenizedPair]):
    """Pairs that an engine can read only as long as somebody waits for their logits."""

    def __init__(self, pairs: Sequence[TokenizedPair], cancelled: Callable[[], bool]) -> None:
        self._pairs = pairs
        self._cancelled = cancelled

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: Any) -> Any:
        if self._cancelled():
            raise CancelledError("the call was cancelled")
        return self._pairs[index]


def _check(logit: float, index: int, pair: tuple[str, str]) -> None:
    if not math.isfinite(logit):
        raise CheckpointError(
            f"the model gave pair {index} the logit {logit}: {_shown(pair)}",
            hint="the weights are damaged or overflow; compare with mode='fp32'",
        )


def _shown(pair: tuple[str, str]) -> str:
    return " / ".join(repr(text if len(text) <= 40 else text[:39] + "…") for text in pair)
