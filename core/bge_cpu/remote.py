"""A running `bge-cpu serve` in place of a loaded reranker: the same calls over HTTP, the same results to the bit."""

import asyncio
import math
import random
import ssl
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import httpx

from bge_cpu.errors import InputError, ServiceError, shown, warn
from bge_cpu.inputs import (
    check_count,
    check_documents,
    check_long_documents,
    check_normalize,
    check_pair,
    check_query,
)
from bge_cpu.ranking import Ranked, Ranking

_BUSY = frozenset({429, 503})
_CONNECT_SECONDS = 5.0
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0  # seconds between tries, where the service names none
_HINTS = {
    401: "give api_key, one of those that the service accepts; it is not kept where an adapter is written down",
    404: "is base_url the service's own address, without /v1 or /rerank?",
    413: "send fewer or shorter documents, or start the service with other limits (bge-cpu serve --help)",
}


class RemoteReranker:
    """Ranks on a running service; safe to share between threads, tasks and processes.

    A service that has no room (429) or is not ready (503) is asked again after the seconds that its Retry-After names,
    else after 0.5, 1, 2 ... 8, each up to a quarter longer: `max_retries` times at most, and never beyond `timeout`.
    Other failures are errors at once. Each call has a connection of its own; proxies of the environment are not used
    and redirects not followed, so that the key goes to the service and nowhere else.

    Args:
        base_url: Where the service is, for instance "http://127.0.0.1:8000".
        api_key: One of the service's API keys, where it has any.
        timeout: Seconds that a call may take, tries and waits between them included; the service is told, too.
        max_retries: How often a busy service is asked again.

    Raises:
        InputError: An argument is of the wrong type or value; an API key is never shown.
    """

    def __init__(
        self, base_url: str, *, api_key: str | None = None, timeout: float = 60.0, max_retries: int = 4
    ) -> None:
        self.base_url = check_url(base_url)
        self._key = check_key(api_key)
        if not isinstance(timeout, int | float) or isinstance(timeout, bool) or not 0 < timeout < math.inf:
            raise InputError(f"timeout is a number of seconds above 0, not {shown(timeout)}")
        self._timeout = float(timeout)
        self._max_retries = check_count(max_retries, "max_retries", least=0)

    def __repr__(self) -> str:
        return f"RemoteReranker({self.base_url!r})"

    def rank(
        self,
        query: str,
        documents: Iterable[str],
        *,
        top_n: int | None = None,
        normalize: str | None = "sigmoid",
        long_documents: str = "truncate",
    ) -> Ranking:
        """As `Reranker.rank`.

        Raises:
            InputError: An argument is of the wrong type or value; nothing was sent.
            ServiceError: The service cannot be reached, or refused.
        """
        call = self._call(query, documents, top_n, normalize, long_documents)
        if not call.documents:
            return Ranking([])
        with httpx.Client(verify=_tls(self.base_url), trust_env=False) as client:
            while True:
                try:
                    response = client.post(call.url, **call.request())
                except httpx.HTTPError as error:
                    raise call.failed(error) from error
                if (seconds := call.wait(response)) is None:
                    return call.ranking(response)
                time.sleep(seconds)

    async def arank(
        self,
        query: str,
        documents: Iterable[str],
        *,
        top_n: int | None = None,
        normalize: str | None = "sigmoid",
        long_documents: str = "truncate",
    ) -> Ranking:
        """As `rank`; the event loop goes on meanwhile, and cancelling the task closes the connection.

        The service drops the work of a client that is gone.
        """
        call = self._call(query, documents, top_n, normalize, long_documents)
        if not call.documents:
            return Ranking([])
        tls = await asyncio.to_thread(_tls, self.base_url)  # reads hundreds of certificates
        async with httpx.AsyncClient(verify=tls, trust_env=False) as client:
            while True:
                try:
                    response = await client.post(call.url, **call.request())
                except httpx.HTTPError as error:
                    raise call.failed(error) from error
                if (seconds := call.wait(response)) is None:
                    return call.ranking(response)
                await asyncio.sleep(seconds)

    def score(self, pairs: Iterable[tuple[str, str]], *, normalize: str | None = None) -> list[float]:
        """As `Reranker.score`, without "softmax"; one request for each query that there is among the pairs.

        Raises:
            InputError: A pair or option is of the wrong type or value; nothing was sent.
            ServiceError: The service cannot be reached, or refused.
        """
        check_normalize(normalize, allowed=("sigmoid",))
        if isinstance(pairs, str | bytes) or not isinstance(pairs, Iterable):
            raise InputError(f"pairs is a list of (query, document), not {type(pairs).__name__}")
        checked = [check_pair(pair, index) for index, pair in enumerate(pairs)]
        of_query: dict[str, list[int]] = {}
        for index, (query, _) in enumerate(checked):
            of_query.setdefault(query, []).append(index)
        scores = [0.0] * len(checked)
        for query, indices in of_query.items():
            for item in self.rank(query, [checked[index][1] for index in indices], normalize=normalize):
                scores[indices[item.index]] = item.score
        return scores

    def _call(self, query: Any, documents: Any, top_n: Any, normalize: str | None, long_documents: str) -> "_Call":
        check_normalize(normalize)
        check_long_documents(long_documents)
        body: dict[str, Any] = {"query": check_query(query), "documents": check_documents(documents)}
        body |= {"normalize": normalize or "none", "long_documents": long_documents}
        if top_n is not None:
            body["top_n"] = check_count(top_n, "top_n")
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        return _Call(self.base_url, body, headers, self._timeout, self._max_retries)


class _Call:
    """One call: its requests, how long to wait between them, and what the answer means; sends nothing itself."""

    def __init__(
        self, base_url: str, body: dict[str, Any], headers: dict[str, str], timeout: float, retries: int
    ) -> None:
        self.url = f"{base_url}/v2/rerank"
        self.documents: Sequence[str] = body["documents"]
        self._expected = min(len(self.documents), body.get("top_n", len(self.documents)))
        self._base_url = base_url
        self._body = body
        self._headers = headers
        self._timeout = timeout
        self._end = time.monotonic() + timeout
        self._retries = retries
        self._pause = _FIRST_WAIT

    def request(self) -> dict[str, Any]:
        """What is sent this time."""
        left = max(0.001, self._end - time.monotonic())
        timeout = httpx.Timeout(left, connect=min(left, _CONNECT_SECONDS))
        return {"json": self._body | {"timeout": left}, "headers": self._headers, "timeout": timeout}

    def wait(self, response: httpx.Response) -> float | None:
        """Seconds until it is worth asking again; None where the answer is final, or there is no time left."""
        if response.status_code not in _BUSY or self._retries == 0:
            return None
        self._retries -= 1
        named = response.headers.get("Retry-After", "")
        seconds = float(named) if named.isascii() and named.isdigit() else self._pause
        self._pause = min(_LONGEST_WAIT, 2 * self._pause)
        seconds *= 1 + random.random() / 4  # else all that were refused together come back together
        return seconds if time.monotonic() + seconds < self._end else None

    def failed(self, error: httpx.HTTPError) -> ServiceError:
        """No answer came."""
        if isinstance(error, httpx.TimeoutException):
            slow = isinstance(error, httpx.ConnectTimeout)
            seconds = min(self._timeout, _CONNECT_SECONDS) if slow else self._timeout
            return ServiceError(f"{self._base_url} gave no answer within {seconds:g} s")
        return ServiceError(
            f"{self._base_url} cannot be reached: {str(error) or type(error).__name__}",
            hint="does `bge-cpu serve` run there?",
        )

    def ranking(self, response: httpx.Response) -> Ranking:
        """What the service found.

        Raises:
            ServiceError: It refused, or what answered is no such service.
        """
        status = response.status_code
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if status != 200:
            said = answer.get("message") if isinstance(answer, dict) else None
            raise ServiceError(
                f"{self._base_url} refused ({status}): {str(said or response.reason_phrase)[:200]}",
                hint=_HINTS.get(status, ""),
                status=status,
            )
        try:
            ranking = Ranking([self._ranked(item) for item in answer["results"]])
            if len({item.index for item in ranking}) != self._expected or len(ranking) != self._expected:
                raise ValueError("not one result for each document")
        except (LookupError, TypeError, ValueError) as error:
            raise ServiceError(f"what answers at {self._base_url} is no bge-cpu service", status=status) from error
        for said in (answer.get("meta") or {}).get("warnings") or ():
            warn(f"{self._base_url} says: {str(said)[:200]}")
        return ranking

    def _ranked(self, item: dict[str, Any]) -> Ranked:
        index, score = item["index"], item["relevance_score"]
        if type(index) is not int or not 0 <= index < len(self.documents) or not isinstance(score, int | float):
            raise ValueError("no such document, or no score")
        start_end = item.get("span")
        span = None if start_end is None else (int(start_end[0]), int(start_end[1]))
        return Ranked(index, float(score), self.documents[index], int(item.get("truncated_tokens") or 0), span)


def check_url(url: Any) -> str:
    """An address of a service, without a slash at its end.

    Raises:
        InputError: Anything else, also one with a password in it.
    """
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or "@" in parts.netloc or parts.query or parts.fragment or any(sign.isspace() for sign in url):
        raise InputError("base_url is an address as http://127.0.0.1:8000, without user, password and query")
    return str(url).rstrip("/")


def check_key(key: Any) -> str | None:
    """None, or a key that fits into a header; it is not shown.

    Raises:
        InputError: Anything else.
    """
    if key is not None and (not isinstance(key, str) or not key or not key.isascii() or not key.isprintable()):
        raise InputError("api_key is None or a text of printable ASCII characters; it is not shown here")
    return key


@lru_cache(maxsize=1)
def _context() -> ssl.SSLContext:
    return ssl.create_default_context()


def _tls(url: str) -> ssl.SSLContext | bool:
    """How certificates are checked, read once: as the system does, so SSL_CERT_FILE counts. False has none to check."""
    return _context() if url.startswith("https:") else False
