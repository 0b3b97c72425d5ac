"""A request's body, read as long as it is neither too large nor too slow."""

import asyncio
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import errors
from .errors import Refusal


@dataclass(frozen=True)
class BodyLimits:
    """``size`` in bytes; ``seconds`` in which a body has to arrive."""

    size: int = 32 * 2**20  # SageMaker itself lets 25 MB through
    seconds: float = 30.0


class LimitedBody:
    """ASGI middleware: refuses a body before reading it if it says that it is too large, and while reading it if it is."""

    def __init__(self, app: ASGIApp, limits: BodyLimits) -> None:
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
        # The HTTP parser has refused a length that is not a number.
        elif int(Headers(scope=scope).get("content-length", 0)) > self._limits.size:
            await errors.response(self._too_large())(scope, receive, send)
        else:
            await self._app(scope, self._limited(receive), send)

    def _limited(self, receive: Receive) -> Receive:
        """``receive``, which raises Refusal."""
        length, complete = 0, False
        deadline = asyncio.get_running_loop().time() + self._limits.seconds

        async def limited() -> Message:
            nonlocal length, complete
            if complete:
                return await receive()  # only the end of the connection is still to come
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                words = f"the body did not arrive within {self._limits.seconds:g} s"
                raise Refusal(408, "too_slow", words) from None
            length += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if length > self._limits.size:
                raise self._too_large()
            return message

        return limited

    def _too_large(self) -> Refusal:
        return Refusal(413, "too_large", f"the body is larger than {self._limits.size:,} bytes")
