"""Around the application: who may come in, how much they may send, and a line in the log for each request.

It answers before the body is read where it can, so that nobody without a key makes the server read megabytes.
"""

import asyncio
import re
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bge_cpu.service import logs
from bge_cpu.service.keys import Keys
from bge_cpu.service.metrics import Metrics
from bge_cpu.service.queue import Queue
from bge_cpu.service.refused import Refused, overloaded, too_large
from bge_cpu.service.settings import Limits
from bge_cpu.service.work import Gone

OPEN = frozenset({"/", "/page.css", "/page.js", "/icon.svg", "/health", "/ready", "/openapi.json"})
"""Paths that need no key."""

BODY_SECONDS = 20.0
"""How long a body may take to arrive, or the request's whole time where that is shorter."""

_BODIES = 16  # of the largest size, held at once
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


@dataclass
class Record:
    """What the log and the metrics are told of one request; the application adds to `fields`.

    Attributes:
        id: The client's X-Request-Id, or a new one.
        endpoint: The path if it is one of ours, else "other": a path is the client's text.
        kind: What went wrong, if anything did.
        status: The HTTP status; 499 means that the client hung up.
    """

    id: str
    endpoint: str
    kind: str = ""
    status: int = 499
    fields: dict[str, Any] = field(default_factory=dict)


class Guard:
    """An ASGI application in front of another.

    Args:
        app: The application.
        endpoints: The paths that it has.
        keys: Who may come in.
        queue: Asked whether there is room.
        limits: How large a body may be, and how long it may take.
        metrics: Where figures go.
        log_texts: Whether the log may hold texts of requests.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        endpoints: Collection[str],
        keys: Keys,
        queue: Queue,
        limits: Limits,
        metrics: Metrics,
        log_texts: bool,
    ) -> None:
        self._app = app
        self._endpoints = frozenset(endpoints)
        self._keys = keys
        self._queue = queue
        self._max_body = limits.max_body
        self.body_seconds = min(BODY_SECONDS, limits.timeout)
        self._metrics = metrics
        self._log_texts = log_texts
        self._held = 0  # bytes of bodies in memory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        started = time.monotonic()
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode() if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        record = Record(request_id, scope["path"] if scope["path"] in self._endpoints else "other")
        scope["record"] = record
        answer = _Answer(send, record)
        body = _Body(receive, self)
        try:
            self._check_key(record.endpoint, headers)
            ranks = record.endpoint.endswith("/rerank")
            if ranks:
                self._queue.check()
            if scope["method"] not in ("GET", "HEAD"):
                await body.read(headers)
            if ranks:  # others may have come meanwhile; parsing the body is most of what a refusal costs
                self._queue.check()
            await self._app(scope, body.receive, answer.send)
        except Refused as refused:
            record.kind = refused.kind
            await refused.answer(record.endpoint)(scope, receive, answer.send)
        except Gone:
            record.kind = "disconnected"
        except Exception as error:
            record.kind = "internal"
            logs.requests.error(
                "failed", extra={"fields": {"id": record.id} | logs.failure(error, texts=self._log_texts)}
            )
            if not answer.started:
                await Refused(500, "internal error").answer(record.endpoint)(scope, receive, answer.send)
        finally:
            body.release()
            self._note(scope["method"], record, time.monotonic() - started)

    def _check_key(self, endpoint: str, headers: dict[bytes, bytes]) -> None:
        given = headers.get(b"authorization", b"")
        if endpoint not in OPEN and not self._keys.accept(given):
            wrong = "this API key is not accepted" if given else "an API key is needed: Authorization: Bearer KEY"
            raise Refused(401, wrong, kind="unauthorized", headers={"WWW-Authenticate": "Bearer"})

    def _note(self, method: str, record: Record, seconds: float) -> None:
        self._metrics.requests.labels(record.endpoint, record.status).inc()
        self._metrics.latency.labels(record.endpoint).observe(seconds)
        if record.kind:
            self._metrics.errors.labels(record.kind).inc()
        if method in ("GET", "HEAD") and record.status < 500:
            return  # probes and scrapes come every few seconds, for ever
        fields = {"id": record.id, "endpoint": record.endpoint, "status": record.status, "seconds": round(seconds, 4)}
        kind = {"kind": record.kind} if record.kind else {}
        logs.requests.info("request", extra={"fields": fields | kind | record.fields})

    def hold(self, size: int) -> None:
        """Make room for some bytes of a body.

        Raises:
            Refused: Too many are held already.
        """
        if self._held + size > _BODIES * self._max_body:
            raise overloaded(1)
        self._held += size

    def let_go(self, size: int) -> None:
        """Give the room back."""
        self._held -= size

    def check_size(self, size: int) -> None:
        """Refuse a body that is too large.

        Raises:
            Refused: It is.
        """
        if size > self._max_body:
            raise too_large(f"the body is larger than {self._max_body} bytes")


class _Answer:
    """Notes what is answered, and adds headers."""

    def __init__(self, send: Send, record: Record) -> None:
        self._send = send
        self._record = record
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self._record.status = message["status"]
            added = [*_HEADERS, (b"x-request-id", self._record.id.encode())]
            message = {**message, "headers": [*message.get("headers", []), *added]}
        await self._send(message)


class _Body:
    """Reads a body whole, within limits of size and time, and hands it on."""

    def __init__(self, receive: Receive, guard: Guard) -> None:
        self._receive = receive
        self._guard = guard
        self._content = bytearray()
        self._left = False

    async def read(self, headers: dict[bytes, bytes]) -> None:
        """Read it.

        Raises:
            Refused: It is too large, or too slow.
            Gone: The client hung up.
        """
        length = headers.get(b"content-length", b"0")
        self._guard.check_size(int(length) if length.isdigit() else 0)
        try:
            await asyncio.wait_for(self._read(), self._guard.body_seconds)
        except asyncio.TimeoutError:
            raise Refused(408, "the body came too slowly", headers={"Connection": "close"}) from None
        self._left = True

    async def _read(self) -> None:
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Gone
            part = message.get("body", b"")
            self._guard.check_size(len(self._content) + len(part))
            self._guard.hold(len(part))
            self._content += part
            more = message.get("more_body", False)

    async def receive(self) -> Message:
        """For the application: the body, whole, at the first call; then what the server says of the connection."""
        if not self._left:
            return await self._receive()
        self._left = False
        return {"type": "http.request", "body": bytes(self._content), "more_body": False}

    def release(self) -> None:
        """Let the body go."""
        self._guard.let_go(len(self._content))
        self._content = bytearray()
