"""uvicorn with two additions: it closes connections that send no request, and a stop answers all accepted requests."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from . import errors

HEADER_SECONDS = 10.0
"""Time limit for a request's line and headers. uvicorn has none: a connection that sends nothing would stay open forever."""

HEADER_BYTES = 64 * 1024
"""Largest size of a request's line and headers together, in bytes. uvicorn's parser has no limit."""

DRAIN_SECONDS = 0.3
"""Seconds from the stop signal until idle connections are closed: requests that are on their way are still answered."""

STOP_SECONDS = 8.0
"""Seconds after which unanswered requests are abandoned."""


class Protocol(HttpToolsProtocol):
    """One connection."""

    _deadline: asyncio.TimerHandle | None = None
    _header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._headers_came()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._expect_headers()
        self._header_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._headers_came()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # uvicorn waits forever once it has more data: the rest of a refused body, or an empty line.
        if self.cycle.response_complete and not self.transport.is_closing():
            self._expect_headers()

    def send_400_response(self, msg: str) -> None:
        """Send the error response for data that is not HTTP, in the same form as all others."""
        answer = errors.response(
            errors.Refusal(400, "no_http", "this is not an HTTP request, or its headers are too large")
        )
        head = b"".join(name + b": " + value + b"\r\n" for name, value in answer.raw_headers)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + head + b"connection: close\r\n\r\n" + bytes(answer.body))
        self.transport.close()

    def _expect_headers(self) -> None:
        self._headers_came()
        self._deadline = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _headers_came(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _count(self, length: int) -> None:
        self._header_bytes += length
        if self._header_bytes > HEADER_BYTES:
            raise httptools.HttpParserError("headers too large")  # this sends 400 and closes the connection


class Server(uvicorn.Server):
    """Serves ``application`` on a ``listener`` that is already open."""

    def __init__(self, application: Any, listener: socket.socket, stopping: Callable[[], None] | None = None) -> None:
        """``stopping`` is called when the server is told to stop. It has to end endless responses."""
        super().__init__(
            uvicorn.Config(
                application,
                http=Protocol,
                ws="none",
                log_level="warning",
                server_header=False,
                timeout_graceful_shutdown=STOP_SECONDS,  # type: ignore[arg-type]
            )
        )
        self._listener = listener
        self._stopping = stopping

    def serve_until_stopped(self) -> None:
        """Serve until SIGTERM or SIGINT. Return when all accepted requests have been answered."""
        self.run(sockets=[self._listener])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Each response tells its client to close the connection, so that in the end only idle connections are left.
        self.server_state.default_headers.append((b"connection", b"close"))
        # Also serve connections that the system has accepted and this process has not. Later ones are refused.
        with self._listener.dup() as rest:
            for server in self.servers:
                server.close()
            self._listener.close()
            await self._accept(rest)
        if self._stopping:
            self._stopping()
        await asyncio.sleep(DRAIN_SECONDS)
        await super().shutdown(sockets)

    async def _accept(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                return
            await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> Protocol:
        return Protocol(self.config, self.server_state, self.lifespan.state)
