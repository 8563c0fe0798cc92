"""The ceiling: how fast this machine multiplies a model's matrices, and what the model needs of that."""

import time
from collections.abc import Callable, Sequence
from typing import Any

ROWS = (256, 1_024)  # tokens
REPEATS, SECONDS = 5, 0.05

Rates = dict[str, list[float]]  # "fp32" or "int8" -> 10^9 operations per second for each shape


def shapes(config: dict[str, Any]) -> list[tuple[int, int]]:
    """Rows and columns of the matrices in a layer; the first stands for four of them."""
    hidden, intermediate = config["hidden_size"], config["intermediate_size"]
    return [(hidden, hidden), (hidden, intermediate), (intermediate, hidden)]


def operations(config: dict[str, Any], lengths: Sequence[int]) -> float:
    """What bge-cpu needs for pairs of these lengths: two for each token and weight of a matrix.

    Of the last layer only the first token's query, output and feed-forward count, attention's own products not at all.
    """
    square, up, down = (rows * columns for rows, columns in shapes(config))
    layer, keys_and_values = 4 * square + up + down, 2 * square
    whole = (config["num_hidden_layers"] - 1) * layer + keys_and_values
    return float(2 * (whole * sum(lengths) + (layer - keys_and_values) * len(lengths)))


def ceiling(config: dict[str, Any], found: Sequence[Rates], kind: str) -> float:
    """The rate of a layer each of whose matrices is multiplied as fast as any library ever did."""
    best = [max(rates[kind][place] for rates in found) for place in range(3)]
    work = [count * rows * columns for count, (rows, columns) in zip((4, 1, 1), shapes(config), strict=True)]
    return sum(work) / sum(share / rate for share, rate in zip(work, best, strict=True))


def fastest(run: Callable[[], Any]) -> float:
    """The least seconds that a run takes, over some repeats of several runs each."""
    run()
    start = time.perf_counter()
    run()
    times = max(1, round(SECONDS / (time.perf_counter() - start)))
    found = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        for _ in range(times):
            run()
        found.append((time.perf_counter() - start) / times)
    return min(found)
