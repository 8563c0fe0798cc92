"""Which pairs share a run of the model, and what a run reads: the tokens of its pairs, one pair after the other."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bge_cpu.engines import TokenizedPair


def share_runs(lengths: Sequence[int], threads: int, tokens_per_run: int) -> list[list[int]]:
    """Which pairs share a run, the longest first; runs are about as full for each thread, and no thread idles.

    Args:
        lengths: The pairs' tokens.
        threads: How many runs go on at once.
        tokens_per_run: When a run is full; at 0, with its first pair.

    Returns:
        Runs of indices of pairs.
    """
    tokens, full = sum(lengths), threads * max(1, tokens_per_run)
    size = tokens / (threads * max(1, math.ceil(tokens / full)))
    runs: list[list[int]] = []
    room = 0.0
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if room < lengths[index] / 2:  # more than half of the pair would not fit: it starts the next run
            runs.append([])
            room = size
        runs[-1].append(index)
        room -= lengths[index]
    return runs


def pack(pairs: Sequence[TokenizedPair], position_offset: int) -> dict[str, NDArray[np.int64]]:
    """What a run reads, int64: the tokens of all pairs, one pair after the other, (tokens,), and where each begins.

    The names are those of the inputs of `graph.feed.Packed`; cu_seqlens, (pairs + 1,), ends with the number of tokens.
    """
    return {
        "input_ids": np.concatenate([pair.ids for pair in pairs]),
        "token_type_ids": np.concatenate([pair.type_ids for pair in pairs]),
        "position_ids": np.concatenate([_position_ids(pair.ids, position_offset) for pair in pairs]),
        "cu_seqlens": np.cumsum([0, *map(len, pairs)], dtype=np.int64),
    }


def _position_ids(ids: NDArray[np.int64], offset: int) -> NDArray[np.int64]:
    """Rows of the position table. RoBERTa's kin do not count a padding token, which a text may spell out.

    Such a token has the row of its own id, the last before the first position.
    """
    if not offset:
        return np.arange(len(ids), dtype=np.int64)
    seen = ids != offset - 1
    positions: NDArray[np.int64] = np.cumsum(seen, dtype=np.int64) * seen + (offset - 1)
    return positions
