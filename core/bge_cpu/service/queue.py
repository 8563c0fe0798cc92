"""How much work a process has accepted: bounded in requests and tokens, and how soon it will be done.

The queue holds no pairs. What runs next is the engine's matter: its threads take a run of each call in turn
(`machine.pool.FairPool`), so that a short request is not held up by a long one.
"""

import threading
import time
from collections.abc import Callable

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
        self._turned_away = False
        self._done_tokens = self._done_seconds = 0.0
        self.tokens = 0
        self.requests = 0

    @property
    def full(self) -> bool:
        """Whether a request that came now would be refused whatever its size.

        So it is from when one was refused until one has left: small requests do not slip past a large one for ever, and
        clients are turned away before anything is read of what they send.
        """
        return self._turned_away or self.requests >= self._max_requests or self.tokens >= self._max_tokens

    def check(self) -> None:
        """Refuse what comes while the queue is full.

        Raises:
            Refused: It is.
        """
        if self.full:
            raise overloaded(self._seconds())

    def enter(self, estimate: int) -> "Place":
        """Accept a request, or refuse it at once.

        Args:
            estimate: About how many tokens it has; they are counted once it is in. One that finds the queue empty is
                let in whatever the estimate.

        Raises:
            Refused: The queue is full, or would be.
        """
        with self._lock:
            if self.full or (self.tokens and self.tokens + estimate > self._max_tokens):
                self._turned_away = True
                raise overloaded(self._seconds())
            if not self.tokens:
                self._since = self._clock()
            self.requests += 1
            self.tokens += estimate
        return Place(self, estimate)

    def correct(self, estimate: int, tokens: int) -> None:
        """Put the counted tokens of a request in place of the estimate.

        Raises:
            Refused: There is not as much room now (429), or never will be (413).
        """
        if tokens > self._max_tokens:
            raise too_large(f"the request has {tokens} tokens; the queue holds at most {self._max_tokens}")
        with self._lock:
            if self.tokens - estimate + tokens > self._max_tokens:
                self._turned_away = True
                raise overloaded(self._seconds())
            self.tokens += tokens - estimate

    def leave(self, tokens: int, *, done: bool) -> None:
        """Forget a request that entered; one that was done tells how fast the engine is."""
        with self._lock:
            self.requests -= 1
            self.tokens -= tokens
            self._turned_away = False
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


class Place:
    """A request's place in the queue, from when it enters until it leaves.

    Args:
        queue: The queue.
        tokens: The estimate.
    """

    def __init__(self, queue: Queue, tokens: int) -> None:
        self._queue = queue
        self.tokens = tokens
        self.done = False

    def count(self, tokens: int) -> None:
        """Tell how many tokens there are; raises what `Queue.correct` does."""
        self._queue.correct(self.tokens, tokens)
        self.tokens = tokens

    def leave(self) -> None:
        """Give the room back."""
        self._queue.leave(self.tokens, done=self.done)
