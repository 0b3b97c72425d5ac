"""uvicorn with what it leaves out: requests that never begin are cut off, and a stop answers what was accepted."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from . import errors

HEADER_SECONDS = 10.0
"""For a request's line and headers. uvicorn has no such limit: a connection that sends nothing would stay for ever."""

HEADER_BYTES = 64 * 1024
"""Of a request's line and headers together; its parser has no limit either."""

DRAIN_SECONDS = 0.3
"""After the order to stop, until idle connections are closed: requests that are on their way on them are still answered."""

STOP_SECONDS = 8.0
"""After which requests that are not answered yet are given up."""


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
        # uvicorn waits for ever once more has come: the rest of a refused body, an empty line.
        if self.cycle.response_complete and not self.transport.is_closing():
            self._expect_headers()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, in the form of all refusals."""
        answer = errors.response(
            errors.Refusal(400, "no_http", "this is no HTTP request, or its headers are too large")
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
            raise httptools.HttpParserError("headers too large")  # answered with 400 and the connection closed


class Server(uvicorn.Server):
    """Serves ``application`` on a ``listener`` that is open already."""

    def __init__(self, application: Any, listener: socket.socket, stopping: Callable[[], None] | None = None) -> None:
        """``stopping`` is called when the server is told to stop: answers without an end have to find one."""
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
        """Returns after SIGTERM or SIGINT, when all that was accepted has been answered."""
        self.run(sockets=[self._listener])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Each answer tells its client to ask elsewhere, so in the end only idle connections are left to be closed.
        self.server_state.default_headers.append((b"connection", b"close"))
        # What the system has accepted for us and we have not is still ours; after it nobody gets in.
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
