"""Limits on the size of a request's body and on the time it takes to arrive."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import errors
from .errors import Refusal


@dataclass(frozen=True)
class BodyLimits:
    """``size``: largest body in bytes. ``seconds``: time in which it has to arrive."""

    size: int = 32 * 2**20  # SageMaker's own limit is 25 MB
    seconds: float = 30.0


class LimitedBody:
    """ASGI middleware that refuses a large body: by its Content-Length before reading it, otherwise while reading it.

    ``elsewhere`` has other limits by path.
    """

    def __init__(self, app: ASGIApp, limits: BodyLimits, elsewhere: Mapping[str, BodyLimits] | None = None) -> None:
        self._app, self._limits, self._elsewhere = app, limits, elsewhere or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        limits = self._elsewhere.get(scope["path"], self._limits)
        # The HTTP parser has already refused a length that is not a number.
        if int(Headers(scope=scope).get("content-length", 0)) > limits.size:
            await errors.response(_too_large(limits))(scope, receive, send)
        else:
            await self._app(scope, _limited(receive, limits), send)


def _limited(receive: Receive, limits: BodyLimits) -> Receive:
    """Return ``receive`` with the limits applied: it raises Refusal if the body is too large or too slow."""
    length, complete = 0, False
    deadline = asyncio.get_running_loop().time() + limits.seconds

    async def limited() -> Message:
        nonlocal length, complete
        if complete:
            return await receive()  # only the end of the connection can follow
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            words = f"the body did not arrive within {limits.seconds:g} s"
            raise Refusal(408, "too_slow", words) from None
        length += len(message.get("body", b""))
        complete = not message.get("more_body", False)
        if length > limits.size:
            raise _too_large(limits)
        return message

    return limited


def _too_large(limits: BodyLimits) -> Refusal:
    return Refusal(413, "too_large", f"the body is larger than {limits.size:,} bytes")
