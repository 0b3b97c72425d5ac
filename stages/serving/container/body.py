"""Limit the bodies of requests: the size of one, the time in which it arrives, and the size of all together."""

import asyncio
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import errors
from .errors import Refusal

RETRY_AFTER = 1  # s

UNCOUNTED = 64 * 1024
"""Bytes of each body that do not count towards the common limit: small requests pass while large ones fill it."""


UNPACKED = 4_000_000
"""Largest unpacked size of a compressed body in bytes. Some kilobytes can unpack to any size, and costs grow with the size."""


@dataclass(frozen=True)
class BodyLimits:
    """``size``: largest body in bytes; `make serve` sets its own. ``seconds``: time in which it has to arrive. ``together``: largest sum of
    the bodies that arrive or are being processed, in bytes."""

    size: int = 32 * 2**20  # SageMaker's own limit is 25 MB
    seconds: float = 30.0
    together: int = 256 * 2**20


class LimitedBody:
    """ASGI middleware that refuses a large body: by its Content-Length before reading it, otherwise while reading it.

    A gzip body is unpacked. ``elsewhere`` has other limits by path; bodies that are sent there are not unpacked, and have a
    common limit of their own.
    """

    def __init__(self, app: ASGIApp, limits: BodyLimits, elsewhere: Mapping[str, BodyLimits] | None = None) -> None:
        self._app, self._limits, self._elsewhere = app, limits, elsewhere or {}
        self._held = dict.fromkeys([limits, *self._elsewhere.values()], 0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        limits = self._elsewhere.get(path, self._limits)
        body = _Body(receive, limits, self._held)
        try:
            # The HTTP parser has already refused a length that is not a number.
            if int(Headers(scope=scope).get("content-length", 0)) > limits.size:
                raise _too_large(limits.size)
            if encoding := Headers(scope=scope).get("content-encoding", "identity").strip().lower():
                scope = self._decoded(scope, encoding, body, path)
            await self._app(scope, body.receive, send)
        except Refusal as refusal:  # raised here: the application answers its own
            await errors.response(refusal)(scope, receive, send)
        finally:
            body.release()

    def _decoded(self, scope: Scope, encoding: str, body: "_Body", path: str) -> Scope:
        """Return ``scope`` for a body without its ``encoding``. Raise Refusal for one that can't be unpacked."""
        if encoding == "identity":
            return scope
        if encoding not in ("gzip", "x-gzip") or path in self._elsewhere:
            words = f"found content encoding {encoding[:100]!r}: send the body uncompressed or with gzip"
            raise Refusal(415, "unsupported_encoding", words)
        body.unpack()
        scope = {**scope, "headers": list(scope["headers"])}
        headers = MutableHeaders(scope=scope)
        for name in ("content-encoding", "content-length"):
            del headers[name]
        return scope


class _Body:
    """The body of one request. ``held`` has the sum of the bytes of all bodies by their limits."""

    def __init__(self, receive: Receive, limits: BodyLimits, held: dict[BodyLimits, int]) -> None:
        self._receive, self._limits, self._held = receive, limits, held
        self._deadline = asyncio.get_running_loop().time() + limits.seconds
        self._size = limits.size
        self._length = self._counted = 0
        self._complete = False
        self._unpacked: zlib._Decompress | None = None

    def unpack(self) -> None:
        """Unpack the received bytes, which are gzip."""
        self._unpacked = zlib.decompressobj(wbits=31)  # 31: gzip's header and checksum, nothing else
        self._size = min(self._size, UNPACKED)

    async def receive(self) -> Message:
        """Return the next part of the body. Raise Refusal if the body breaks a limit."""
        if self._complete:
            return await self._receive()  # only the end of the connection can follow
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            words = f"the body did not arrive within {self._limits.seconds:g} s"
            raise Refusal(408, "too_slow", words) from None
        self._complete = not message.get("more_body", False)
        if message["type"] == "http.request" and self._unpacked:
            message = {**message, "body": await asyncio.to_thread(self._unpack, message.get("body", b""))}
        self._hold(len(message.get("body", b"")))
        return message

    def _hold(self, length: int) -> None:
        self._length += length
        if self._length > self._size:
            raise _too_large(self._size, ", unpacked: send it without Content-Encoding" if self._unpacked else "")
        more = max(0, self._length - UNCOUNTED) - self._counted
        if more and self._held[self._limits] + more > self._limits.together:
            words = (
                f"other requests hold {self._held[self._limits]:,} bytes, at most {self._limits.together:,} are held"
            )
            raise Refusal(503, "busy", words, RETRY_AFTER)
        self._held[self._limits] += more
        self._counted += more

    def _unpack(self, packed: bytes) -> bytes:
        """Return the next unpacked bytes, at most one more than the limit allows."""
        assert self._unpacked
        try:
            content = self._unpacked.decompress(packed, self._size + 1 - self._length)
        except zlib.error:
            words = "the body is not gzip, or is damaged: pack it again, or send it without Content-Encoding"
            raise Refusal(400, "unreadable", words) from None
        if self._unpacked.unused_data or (
            self._complete and not self._unpacked.eof and not self._unpacked.unconsumed_tail
        ):
            raise Refusal(400, "unreadable", "the gzip body is cut off, or more data follows it")
        return content

    def release(self) -> None:
        """Free the body's part of the common limit: it has been processed."""
        self._held[self._limits] -= self._counted


def _too_large(size: int, remedy: str = "") -> Refusal:
    return Refusal(413, "too_large", f"the body is larger than {size:,} bytes{remedy}")
