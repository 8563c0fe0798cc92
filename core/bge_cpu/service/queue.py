"""How much work a process has accepted: bounded in requests and tokens, and how soon it will be done.

The queue holds no pairs. What runs next is the engine's matter: its threads take a run of each call in turn
(`machine.pool.FairPool`), so that a short request is not held up by a long one.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bge_cpu.service.refused import overloaded, too_large

REQUESTS = 256
"""Requests accepted at once, whatever their size; each has a thread."""

_REMEMBERED = 0.95  # of the rate so far, with each request that is done


class Queue:
    """Counts what is accepted and not yet done; safe to use from many threads.

    Args:
        max_tokens: Tokens accepted at once.
        max_requests: Requests accepted at once.
        clock: Seconds that only ever grow.
    """

    def __init__(
        self, max_tokens: int, max_requests: int = REQUESTS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_tokens = max_tokens
        self._max_requests = max_requests
        self._clock = clock
        self._lock = threading.Lock()
        self._since = 0.0  # when the last request was done, or the first of a busy time came
        self._done_tokens = self._done_seconds = 0.0
        self.tokens = 0
        self.requests = 0

    @property
    def full(self) -> bool:
        """Whether a request that came now would be refused whatever its size."""
        return self.requests >= self._max_requests or self.tokens >= self._max_tokens

    def enter(self) -> None:
        """Accept a request whose tokens are still to be counted; `leave` is called when it is done.

        Raises:
            Refused: The queue is full.
        """
        with self._lock:
            if self.full:
                raise overloaded(self._seconds())
            self.requests += 1

    def leave(self) -> None:
        """Forget a request that entered."""
        with self._lock:
            self.requests -= 1

    @contextmanager
    def hold(self, tokens: int) -> Iterator[None]:
        """Hold the room that a request's tokens take until the block is left.

        Raises:
            Refused: There is not as much room now (429), or never will be (413).
        """
        if tokens > self._max_tokens:
            raise too_large(f"the request has {tokens} tokens; the queue holds at most {self._max_tokens}")
        with self._lock:
            if self.tokens + tokens > self._max_tokens:
                raise overloaded(self._seconds())
            if not self.tokens:
                self._since = self._clock()
            self.tokens += tokens
        done = False
        try:
            yield
            done = True
        finally:
            with self._lock:
                self.tokens -= tokens
                if done:
                    self._learn(tokens)

    def _learn(self, tokens: int) -> None:
        """Keep the rate, newer requests weighing more."""
        now = self._clock()
        self._done_tokens = self._done_tokens * _REMEMBERED + tokens
        self._done_seconds = self._done_seconds * _REMEMBERED + now - self._since
        self._since = now

    def _seconds(self) -> float:
        """How long what is accepted will take at the rate so far."""
        return self.tokens * self._done_seconds / self._done_tokens if self._done_tokens else 0.0
