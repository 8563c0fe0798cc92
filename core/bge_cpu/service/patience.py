"""uvicorn's connections, with an end to their patience: a client that does not get on with its request is let go."""

import asyncio
import socket
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0
"""How long the headers of a request may take, and what is left of a body that was refused."""


class Patient(H11Protocol):
    """A connection that is closed when headers are not whole in time; uvicorn itself would wait for ever."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected: it has yet to speak."""
        super().connection_made(transport)
        # asyncio does so only where it opened the listening socket itself; else each answer, which is written in two
        # parts, would wait 40 ms for the client's acknowledgement of the first.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Some bytes came: does a request still lack its headers, or a refused one its end?"""
        super().data_received(data)
        unfinished = self.conn.their_state is h11.IDLE or (
            self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY
        )
        if unfinished and self.timeout_keep_alive_task is None:
            self._wait()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed; nothing is waited for."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._waiting is None:
            self._waiting = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
