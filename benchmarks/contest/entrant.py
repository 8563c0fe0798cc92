"""A contender in a run: its process, what it measured, and why it failed if it did."""

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from contest.bench import Bench
from contest.child import Pair
from contest.environments import EnvironmentFailed
from contest.processes import Child, ChildFailed
from contest.works import Work

WARM_UP = 8  # pairs
AT_ONCE = 100  # pairs in a call, where nothing is timed


T = TypeVar("T")


class Entrant:
    """A contender in a run. Once a step fails, all further ones do nothing.

    Args:
        name: A key of CONTENDERS.
        bench: What prepares and starts it.

    Attributes:
        rounds: Work -> what its rounds gave: seconds, others_share, peak_gb, anon_gb, scores.
        baseline: Work -> the baseline's median seconds among these rounds.
        starts: Its fresh starts: seconds, peak_gb.
        logits: By pair, if fidelity was asked for.
        failed: Why.
    """

    def __init__(self, name: str, bench: Bench) -> None:
        self.name, self.failed = name, ""
        self.rounds: dict[str, list[dict[str, Any]]] = {}
        self.baseline: dict[str, float] = {}
        self.starts: list[dict[str, float]] = []
        self.logits: dict[Pair, float] = {}
        self._bench = bench
        self._child: Child | None = None

    def prepare(self) -> None:
        """Make its environment and what it runs."""
        self._try(lambda: self._bench.prepare(self.name))

    def load(self, first: Sequence[Pair]) -> dict[str, float] | None:
        """Start its process and score the first pairs: seconds and peak_gb."""

        def step() -> dict[str, float]:
            begin = time.perf_counter()
            self._child = child = self._bench.start(self.name)
            peak = child.ask([list(first)])["peak_gb"]
            return {"seconds": time.perf_counter() - begin, "peak_gb": peak}

        return self._try(step)

    def warm_up(self, work: Work) -> None:
        """Score the first pairs of a work."""
        self._try(lambda: self._running.ask([work.calls[0][:WARM_UP]]))

    def round(self, work: Work) -> None:
        """Score a work, just after a warm-up: the system may have put aside what slept while others had their turn."""
        self.warm_up(work)
        answer = self._try(lambda: self._running.watched(work.calls))
        if answer:
            self.rounds.setdefault(work.name, []).append(answer)
            ms, others = answer["seconds"] / len(work.pairs) * 1e3, answer["others_share"]
            print(f"({work.name}) {self.name:31}{ms:9.1f} ms/pair (others took {others:.0%} of the CPUs)", flush=True)

    def score(self, pairs: list[Pair]) -> None:
        """Keep the logits of pairs, untimed."""
        calls = [pairs[start : start + AT_ONCE] for start in range(0, len(pairs), AT_ONCE)]
        answer = self._try(lambda: self._running.ask(calls))
        self.logits = dict(zip(pairs, answer["scores"], strict=True)) if answer else {}

    def fresh_start(self, first: Sequence[Pair]) -> None:
        """Load it once more, with no other contender in memory, and end it."""
        found = self.load(first)
        self.starts += [found] if found else []
        self.close()

    def close(self) -> None:
        """End its process, if it has one."""
        if self._child:
            self._child.close()
        self._child = None

    @property
    def _running(self) -> Child:
        """Its process; every step but loading needs it."""
        assert self._child
        return self._child

    def _try(self, step: Callable[[], T]) -> T | None:
        if self.failed:
            return None
        try:
            return step()
        except (ChildFailed, EnvironmentFailed) as error:
            self.failed = str(error)
            print(f"{self.name} failed: {error}", flush=True)
            return None
