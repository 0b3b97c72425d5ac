"""Extend uvicorn: close connections that send no request, bound headers, and answer all accepted requests when stopped."""

import asyncio
import resource
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from . import errors

HEADER_SECONDS = 10.0
"""Time limit for a request's line and headers. uvicorn has none: a connection that sends nothing would stay open forever."""

HEADER_BYTES = 64 * 1024
"""Largest size of a request's line and headers together, in bytes. Trailers and chunk extensions have the same limit.

uvicorn's parser has no limit. It reports only complete headers and joins the pieces of an incomplete one in quadratic time.
"""

CHUNKS, CHUNK_BYTES = 10_000, 64
"""Number of chunks that any body may have, and bytes for each further chunk. A chunk costs as much as some kilobytes."""

PIPELINED = 100
"""Largest number of requests of one connection that wait for an earlier one. uvicorn's parser has no limit."""

SEND_SECONDS = 30.0
"""Time in which a client has to read what waits to be sent, some 64 KiB. uvicorn has none: the answer would wait forever."""

DRAIN_SECONDS = 0.3
"""Seconds from the stop signal until idle connections are closed: requests that are on their way are still answered."""

STOP_SECONDS = 8.0
"""Seconds after which unanswered requests are abandoned."""


class Protocol(HttpToolsProtocol):
    """One connection."""

    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _answering: RequestResponseCycle | None = None
    _has_headers = False
    _header_bytes = 0  # of complete headers and trailers
    _unfinished = 0  # bytes since the last complete headers or the last byte of a body
    _body_bytes = _chunks = 0

    def data_received(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest and not self.transport.is_closing():
            if self._unfinished == HEADER_BYTES:
                self.send_400_response("headers too large")
                return
            piece, rest = rest[: HEADER_BYTES - self._unfinished], rest[HEADER_BYTES - self._unfinished :]
            self._unfinished += len(piece)
            super().data_received(piece)  # type: ignore[arg-type]  # the parser takes any buffer

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_headers()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        self._headers_came()
        self._sent()
        if self._answering:  # uvicorn knows only the last request that was sent ahead
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._expect_headers()
        self._header_bytes = self._body_bytes = self._chunks = 0
        self._has_headers = False
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + len(": \r\n"))
        if not self._has_headers:  # uvicorn would add a trailer to the headers
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) == PIPELINED:
            raise httptools.HttpParserError("too many requests at once")
        self._headers_came()
        self._unfinished = 0
        self._has_headers = True
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        self._chunks += 1
        if self._chunks > CHUNKS + self._body_bytes // CHUNK_BYTES:
            raise httptools.HttpParserError("chunks too small")

    def on_body(self, body: bytes) -> None:
        self._unfinished = 0
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unfinished = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # uvicorn waits forever once it has more data: the rest of a refused body, or an empty line.
        if self.cycle.response_complete and not self.transport.is_closing():
            self._expect_headers()

    def pause_writing(self) -> None:
        self._stalled = self.loop.call_later(SEND_SECONDS, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        self._sent()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Send the error response for data that is not HTTP, in the same form as all others, and close the connection."""
        if self._owes_an_answer():  # the client would take this one for it
            self.transport.close()
            return
        words = "this is no HTTP request, or its headers are too large or its chunks too small"
        answer = errors.response(errors.Refusal(400, "no_http", words))
        head = b"".join(name + b": " + value + b"\r\n" for name, value in answer.raw_headers)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + head + b"connection: close\r\n\r\n" + bytes(answer.body))
        self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Stay with HTTP/1.1 in silence: uvicorn would recommend packages."""

    def _owes_an_answer(self) -> bool:
        """Return whether an earlier request than the broken one has not been answered."""
        if self.pipeline:
            return True
        one = self.cycle
        return one is not None and not one.response_complete and (one.response_started or not one.more_body)

    def _expect_headers(self) -> None:
        self._headers_came()
        self._deadline = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _headers_came(self) -> None:
        if self._deadline:
            self._deadline.cancel()

    def _sent(self) -> None:
        if self._stalled:
            self._stalled.cancel()

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
                proxy_headers=False,  # uvicorn would trust every client of this machine
                log_level="warning",
                server_header=False,
                timeout_graceful_shutdown=STOP_SECONDS,  # type: ignore[arg-type]
            )
        )
        self._listener = listener
        self._stopping = stopping

    def serve_until_stopped(self) -> None:
        """Serve until SIGTERM or SIGINT. Return when all accepted requests have been answered."""
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # the usual 1,024 connections are soon taken
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
        protocol = partial(Protocol, self.config, self.server_state, self.lifespan.state)
        while True:
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                return
            await loop.connect_accepted_socket(protocol, connection)
