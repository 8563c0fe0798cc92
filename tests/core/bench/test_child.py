"""The child process of a measurement: which engines it times, over pairs of which length."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from bge_cpu import Reranker
from bge_cpu.bench import child
from bge_cpu.bench.child import pair_of
from bge_cpu.checkpoint import MINI


@pytest.mark.slow
def test_each_number_of_threads_is_measured_with_an_engine_of_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = []

    class Counting(Reranker):
        """Notes how many threads the engine has that scores more than a warm-up."""

        threads: int

        @classmethod
        def load(cls, model: str | Path = MINI, *, threads: int | None = None, **options: Any) -> "Counting":
            found = Reranker.load(model, threads=threads, **options)
            counting = cls(found.tokenizer, found.engine)
            counting.threads = threads or 0
            return counting

        def score(self, pairs: Iterable[tuple[str, str]], **options: Any) -> list[float]:
            pairs = list(pairs)
            timed.append((self.threads, len(pairs)))
            return super().score(pairs, **options)

    monkeypatch.setattr(child, "Reranker", Counting)
    task = {"mode": "onnx", "options": {"model": MINI}, "lengths": [16, 32], "threads": [1, 2, 4], "seconds": 0}
    told = list(child.answers(task | {"runs": 1}))
    assert [(point["point"], point.get("at")) for point in told] == [
        *(("load_seconds", None), ("length", 16), ("length", 32), ("peak_gb", None)),
        *(("threads", 4), ("threads", 2), ("threads", 1)),
    ]
    assert timed == [(4, 1), (4, 4), (4, 8), (4, 4), (4, 8), (2, 2), (2, 4), (1, 1), (1, 2)]


def test_pairs_have_the_length_asked_for(tiny_reranker: Reranker) -> None:
    for tokens in (64, 256, 512):
        (pair,) = tiny_reranker.tokenizer.encode([pair_of(tiny_reranker, tokens)])
        assert tokens - 3 <= len(pair) <= tokens and pair.truncated_tokens == 0
