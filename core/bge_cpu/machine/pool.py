"""A pool of threads that calls share fairly: a short call is not held up by a long one that came first."""

import atexit
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from typing import Any, Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


_WATCHED = 0.05  # seconds between two calls of `watch`
_AWAKE = 1.0  # and between two looks where there is none: Ctrl-C just before a wait would else be seen after all of it


class Helpers(Protocol):
    """What threads without an item of their own do while others are at theirs."""

    def begin(self) -> None:
        """A thread has taken an item: there may be something to help with until `end`."""

    def end(self) -> None:
        """The item is done."""

    def idle(self) -> Callable[[], None]:
        """What an idle thread does next: it helps until no item is under way, or until a later `recall`."""

    def recall(self) -> None:
        """There are items again, or the process ends: send the threads that help back."""


class FairPool:
    """Runs the items of calls on a fixed number of threads, one item of each waiting call in turn.

    While a call of 1,000 items is under way, one of 5 items gets every second turn and is soon done; a pool that goes
    by order of arrival would let it wait for all 1,000. A call's first turn is of one item for each thread and comes as
    soon as threads are free, but for one turn of an older call between those of two new ones.

    The threads start with the first call and end when the pool is collected. They do not keep the process alive, and
    calls from threads that outlive the main one are served as any other. At its exit the process waits for the items
    under way, since compiled code must not be torn down while it runs. A forked process has none of the threads, so no
    call may be made there; collecting the pool and exiting do no harm.

    Args:
        threads: How many items run at once.
        name: What the threads' names begin with.
        helpers: What idle threads do while others work; None lets them wait.
    """

    def __init__(self, threads: int, name: str, helpers: Helpers | None = None) -> None:
        self._threads = threads
        self._name = name
        self._queue = _Queue(helpers, threads)
        self._started = False
        weakref.finalize(self, self._queue.close, os.getpid()).atexit = False

    def map(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        watch: Callable[[], None] | None = None,
    ) -> list[Result]:
        """The results of a function over items, in their order; the calling thread waits.

        When an item fails, those of the call that have not begun are dropped, and its error is raised.

        Args:
            function: Called with an item in one of the pool's threads.
            items: What it is called with.
            watch: Called in the waiting thread every 50 milliseconds.
        """
        call = _Call(function, items)
        if items:
            self._queue.add(call, self._start)
            try:
                call.wait(watch)
            except BaseException:  # of an item, or of this thread's own, which was interrupted
                self._queue.drop(call)
                raise
        return call.results

    def _start(self) -> None:
        """Start the threads, once; the caller holds the queue's lock."""
        if not self._started:
            self._started = True
            for number in range(self._threads):
                thread = threading.Thread(target=_work, args=(self._queue,), name=f"{self._name}-{number}", daemon=True)
                thread.start()
                _THREADS[thread] = self._queue


class _Call:
    """The items of one call: which come next, what they gave, and whether all is done."""

    def __init__(self, function: Callable[[Any], Any], items: Sequence[Any]) -> None:
        self._function = function
        self._items = items
        self._next = 0
        self._left = len(items)  # to be finished
        self._done = threading.Event()
        self._error: BaseException | None = None
        self.results: list[Any] = [None] * len(items)

    def take(self) -> int | None:
        """The next item's index; None where none is left to begin. The caller holds the queue's lock."""
        if self._next == len(self._items):
            return None
        self._next += 1
        return self._next - 1

    def run(self, index: int) -> BaseException | None:
        """Run an item and keep its result; or return its error."""
        try:
            self.results[index] = self._function(self._items[index])
        except BaseException as error:
            return error
        return None

    def finished(self, error: BaseException | None) -> None:
        """Count an item as finished, and drop those that have not begun if it failed. The caller holds the lock."""
        self._left -= 1
        if error is not None:
            self._error = self._error or error
            self.drop()
        if not self._left:
            self._done.set()

    def drop(self) -> None:
        """Begin no more items. The caller holds the queue's lock."""
        self._left -= len(self._items) - self._next
        self._next = len(self._items)

    def cancel(self) -> None:
        """Begin no more items, and let the call fail if there were any. The caller holds the queue's lock."""
        if self._next < len(self._items):
            self._error = self._error or CancelledError("the process ends")
            self.drop()
            if not self._left:
                self._done.set()

    def wait(self, watch: Callable[[], None] | None) -> None:
        """Wait until no item is under way, and raise the first error."""
        while not self._done.wait(_AWAKE if watch is None else _WATCHED):
            if watch is not None:
                watch()
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # else error, frame and call would keep each other alive


class _Queue:
    """The calls that have items to begin, in the order of their next turns."""

    def __init__(self, helpers: Helpers | None, first: int) -> None:
        self._helpers = helpers
        self._first = first  # items of a call's first turn
        self._new: deque[_Call] = deque()  # which have not had that
        self._calls: deque[_Call] = deque()  # which have
        self._due = False  # it is the turn of one of these
        self._running = 0  # items under way
        self._changed = threading.Condition()
        self._closed = False

    def add(self, call: _Call, start: Callable[[], None]) -> None:
        with self._changed:
            start()
            self._new.append(call)
            if self._closed:
                call.cancel()
            self._wake()

    def close(self, process: int) -> None:
        """Let the threads end. A forked process has none, and there the lock may stay held for ever."""
        if os.getpid() != process:
            return
        with self._changed:
            self._closed = True
            self._wake()

    def drop(self, call: _Call) -> None:
        with self._changed:
            call.drop()

    def cancel(self) -> None:
        """Let the threads end, and with them all calls."""
        with self._changed:
            self._closed = True
            for call in (*self._new, *self._calls):
                call.cancel()
            self._wake()

    def _wake(self) -> None:
        """Let every thread look again at what there is to do. The caller holds the lock."""
        if self._helpers:
            self._helpers.recall()
        self._changed.notify_all()

    def take(self) -> tuple[_Call, int] | Callable[[], None] | None:
        """The next call's next item, waited for; or what to help with meanwhile; None once the queue is closed."""
        with self._changed:
            while True:
                while self._new or self._calls:
                    call, index = self._turn()
                    if index is not None:
                        self._running += 1
                        if self._helpers:
                            self._helpers.begin()
                        return call, index
                    del call  # else a thread that waits here would keep it, and all that its function holds, alive
                if self._closed:
                    return None
                if self._helpers and self._running:
                    return self._helpers.idle()
                self._changed.wait()

    def _turn(self) -> tuple[_Call, int | None]:
        """The call whose turn it is, and its next item, if it has one. The caller holds the lock."""
        new = bool(self._new) and not (self._due and self._calls)
        call = (self._new if new else self._calls).popleft()
        index = call.take()
        self._due = False
        if index is not None and new and index + 1 < self._first:
            self._new.appendleft(call)  # its first turn goes on
        elif index is not None:
            self._due = new and bool(self._calls)
            self._calls.append(call)
        return call, index

    def finished(self, call: _Call, error: BaseException | None) -> None:
        with self._changed:
            self._running -= 1
            if self._helpers:
                self._helpers.end()
            call.finished(error)


def _work(queue: _Queue) -> None:
    """What each thread does."""
    while (taken := queue.take()) is not None:
        if callable(taken):
            taken()
            continue
        call, index = taken
        queue.finished(call, call.run(index))
        del taken, call  # else an idle thread would keep the last call's items alive


_THREADS: "weakref.WeakKeyDictionary[threading.Thread, _Queue]" = weakref.WeakKeyDictionary()
"""All threads of all pools of this process."""


def _end() -> None:
    """At the process's exit, wait for the items under way; none is begun any more."""
    threads = list(_THREADS.items())
    for _, queue in threads:
        queue.cancel()
    for thread, _ in threads:
        thread.join()


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_THREADS.clear)
