"""A request's way through the queue to the reranker, with its deadline; what nobody waits for any more is dropped."""

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError as Cancelled
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from bge_cpu.errors import BgeCpuError, InputError
from bge_cpu.ranking import Ranked
from bge_cpu.reranker import Reranker
from bge_cpu.service.metrics import Metrics
from bge_cpu.service.queue import REQUESTS, Place, Queue
from bge_cpu.service.refused import Refused

_COUNTING = 2  # calls whose tokens are counted at once: it is Python's own work, and the event loop wants its turns


class Gone(Exception):
    """The client hung up."""


@dataclass(frozen=True)
class Call:
    """What a request asks of the reranker; the fields are those of `Reranker.rank`.

    Attributes:
        refuse_long: Refuse the request if a pair is longer than max_length.
    """

    query: str
    documents: Sequence[str]
    top_n: int | None = None
    normalize: str | None = "sigmoid"
    long_documents: str = "truncate"
    refuse_long: bool = False


@dataclass
class Result:
    """What became of a call.

    Attributes:
        ranking: Best first; None means that time ran out and the client takes the order it sent.
        max_length: Tokens per pair at most.
        tokens: All that were read, counted before the first run.
        pairs: Pairs run; a window is one.
        truncated: Pairs of them that were cut.
    """

    ranking: Sequence[Ranked] | None
    max_length: int
    tokens: int = 0
    pairs: int = 0
    truncated: int = 0


class Work:
    """Runs calls, each in a thread; the engine shares its own threads among them.

    Args:
        reranker: What ranks.
        queue: What may be accepted.
        metrics: Where figures go.
    """

    def __init__(self, reranker: Reranker, queue: Queue, metrics: Metrics) -> None:
        self.reranker = reranker
        self.metrics = metrics
        self.counting = threading.Semaphore(_COUNTING)
        self._queue = queue
        self._tokens_per_character = 0.3
        self._threads = ThreadPoolExecutor(REQUESTS, thread_name_prefix="bge-cpu-request")

    async def run(self, call: Call, request: Request, *, seconds: float, fallback: bool) -> Result:
        """Rank, unless there is no room, time runs out or the client hangs up.

        Args:
            call: What is asked.
            request: Watched for its client hanging up.
            seconds: How long the client waits.
            fallback: Whether running out of time gives a result without a ranking.

        Raises:
            Refused: No room, out of time, or the reranker failed.
            Gone: The client hung up.
        """
        place = self._queue.enter(self._estimate(call))
        self.metrics.queued_requests.inc()
        self.metrics.queued_tokens.inc(place.tokens)
        job = _Job(call, place, self)
        future = self._threads.submit(job.run)
        future.add_done_callback(lambda done: self._leave(place))
        answer = asyncio.wrap_future(future)
        gone = asyncio.create_task(_hung_up(request))
        both: set[asyncio.Future[Any]] = {answer, gone}
        try:
            done, _ = await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            job.dropped = True  # of no effect where it is done
            gone.cancel()
        if answer in done:
            return answer.result()
        answer.cancel()
        if gone in done:
            raise Gone
        if not fallback:
            raise Refused(504, "no answer within the time allowed", kind="timeout")
        self.metrics.fallbacks.inc()
        return Result(None, self.reranker.tokenizer.max_length)

    def learn(self, call: Call, tokens: int) -> None:
        """Correct the estimate of a text's tokens per character by a call that has been tokenized."""
        characters = sum(len(call.query) + len(document) for document in call.documents)
        self._tokens_per_character += 0.1 * (tokens / max(1, characters) - self._tokens_per_character)

    def _estimate(self, call: Call) -> int:
        """About how many tokens a call has; quick, so that a request that finds no room is told at once."""
        most = self.reranker.tokenizer.max_length
        lengths = (self._tokens_per_character * (len(call.query) + len(document)) for document in call.documents)
        return int(sum(lengths) if call.long_documents == "windows" else sum(min(most, length) for length in lengths))

    def close(self) -> None:
        """Start no more calls."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _leave(self, place: Place) -> None:
        place.leave()
        self.metrics.queued_requests.dec()
        self.metrics.queued_tokens.dec(place.tokens)


class _Job:
    """One call in its thread: count the tokens, rank."""

    def __init__(self, call: Call, place: Place, work: Work) -> None:
        self._call = call
        self._place = place
        self._work = work
        self._came = time.monotonic()
        self._began: float | None = None
        self.dropped = False

    def run(self) -> Result:
        """The result.

        Raises:
            Refused: No room, a pair too long, or the reranker failed.
            concurrent.futures.CancelledError: The call was dropped.
        """
        with self._work.counting:
            self._check_dropped()
            result = self._counted()
        if result.truncated and self._call.refuse_long:
            raise Refused(422, f"{result.truncated} pairs are longer than {result.max_length} tokens")
        estimate = self._place.tokens
        self._place.count(result.tokens)
        self._work.metrics.queued_tokens.inc(result.tokens - estimate)
        self._work.learn(self._call, result.tokens)
        result.ranking = self._ranked()
        self._place.done = True
        self._measure(result)
        return result

    def _counted(self) -> Result:
        """How much work it is, exactly: tokenising once more costs about a hundredth of what the model takes."""
        call = self._call
        pairs = [(call.query, document) for document in call.documents]
        result = Result(None, self._work.reranker.tokenizer.max_length)
        for window in self._work.reranker.tokenizer.windows(pairs, whole=call.long_documents == "windows"):
            result.pairs += 1
            result.tokens += len(window.pair)
            result.truncated += window.pair.truncated_tokens > 0
            if not result.pairs % 1024:
                self._check_dropped()
        return result

    def _ranked(self) -> Sequence[Ranked]:
        call = self._call
        try:
            return self._work.reranker.rank(
                call.query,
                call.documents,
                top_n=call.top_n,
                normalize=call.normalize,
                long_documents=call.long_documents,
                cancelled=self._cancelled,
            )
        except InputError as error:  # its message may show a text
            raise Refused(422, "the reranker takes no such input") from error
        except BgeCpuError as error:
            raise Refused(500, "the model failed on this request") from error

    def _cancelled(self) -> bool:
        """The engine asks before each run; so the first time it asks is when the call's turn has come."""
        if self._began is None:
            self._began = time.monotonic()
        return self.dropped

    def _check_dropped(self) -> None:
        if self.dropped:
            raise Cancelled("nobody waits for it any more")

    def _measure(self, result: Result) -> None:
        metrics, now = self._work.metrics, time.monotonic()
        began = self._began or now
        metrics.wait.observe(began - self._came)
        metrics.compute.observe(now - began)
        metrics.pairs.inc(result.pairs)
        metrics.tokens.inc(result.tokens)
        metrics.truncated.inc(result.truncated)
        metrics.documents.observe(len(self._call.documents))


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
