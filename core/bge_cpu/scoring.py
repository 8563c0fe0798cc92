"""Step 3 of a call, around an engine: windows -> a logit per document, in bounded memory, every logit checked."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from bge_cpu.engines import Cancelled, Engine
from bge_cpu.errors import CheckpointError, shown
from bge_cpu.tokenizer import Window

_WINDOWS_AT_ONCE = 1024  # given to the engine together


@dataclass(slots=True)
class Scored:
    """What the model said of one (query, document) pair.

    Attributes:
        logit: The raw logit of its best window, the first of equals.
        span: That window's characters; None where the document was not read in windows.
        truncated_tokens: How many tokens of query and document the model did not see.
    """

    logit: float = -math.inf
    span: tuple[int, int] | None = None
    truncated_tokens: int = 0


def truncated_pairs(scored: Sequence[Scored]) -> int:
    """How many pairs were cut."""
    return sum(item.truncated_tokens > 0 for item in scored)


def take(source: Iterator[tuple[str, str]], size: int) -> tuple[list[tuple[str, str]], Exception | None]:
    """Up to `size` items of an iterator, and the error that stopped it, if one did."""
    taken: list[tuple[str, str]] = []
    try:
        taken.extend(islice(source, size))
    except Exception as error:
        return taken, error
    return taken, None


def best_logits(
    engine: Engine,
    windows: Iterable[Window],
    pairs: Sequence[tuple[str, str]],
    *,
    first: int = 0,
    cancelled: Cancelled = None,
) -> list[Scored]:
    """Run windows through the engine and keep each pair's best.

    Args:
        engine: Turns token ids into logits.
        windows: At least one of every pair.
        pairs: The texts that the windows were made of.
        first: The number of the first pair in error messages.
        cancelled: As in `Engine.logits`.

    Raises:
        CheckpointError: The model gave a window no finite logit.
        concurrent.futures.CancelledError: `cancelled` said so.
    """
    best = [Scored() for _ in pairs]
    windows = iter(windows)
    while some := list(islice(windows, _WINDOWS_AT_ONCE)):
        logits = engine.logits([window.pair for window in some], cancelled=cancelled).tolist()
        for window, logit in zip(some, logits, strict=True):
            _check(logit, first + window.document, pairs[window.document])
            so_far = best[window.document]
            if logit > so_far.logit:
                so_far.logit, so_far.span = logit, window.span
            so_far.truncated_tokens = window.pair.truncated_tokens  # the query's, where there are several windows
    return best


def _check(logit: float, index: int, pair: tuple[str, str]) -> None:
    if not math.isfinite(logit):
        raise CheckpointError(
            f"the model gave pair {index} the logit {logit}: {' / '.join(map(shown, pair))}",
            hint="the weights are damaged or overflow; compare with mode='fp32'",
        )
