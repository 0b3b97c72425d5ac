"""What stands before the API and the page alike: who may ask, how often, and the headers of every answer."""

import hmac
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stages.serving.container import errors
from stages.serving.container.errors import Refusal
from stages.serving.page import CONTENT_SECURITY_POLICY

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
OPEN = "/ping"
"""Is answered without a token: whoever looks after the server has none."""

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
COOKIE = "token"
GUESSES = 20
"""Requests a second without the token that are told so."""


@dataclass(frozen=True)
class Rules:
    """``token``: None lets everybody ask. ``hosts``: names under which the server may be asked, None: any; on loopback this
    keeps out web pages whose own name was made to point here. ``rate``: POST requests a second of one address, 0: any number;
    GET is not counted, since the page alone is some fifty of them."""

    token: str | None
    hosts: frozenset[str] | None
    rate: int


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app, self._rules = app, rules
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            answer = self._before(scope)
        except Refusal as refusal:
            answer = errors.response(refusal)
        if answer:
            await answer(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    def _before(self, scope: Scope) -> Response | None:
        """An answer without asking the application. Raises Refusal."""
        rules, headers = self._rules, Headers(scope=scope)
        host = re.sub(r":\d*$", "", headers.get("host", ""))
        if rules.hosts is not None and host.lower() not in rules.hosts:
            raise Refusal(403, "unknown_host", f"this server is {' or '.join(sorted(rules.hosts))}, not {host[:100]!r}")
        if headers.get("sec-fetch-site") == "cross-site" and scope["method"] not in ("GET", "HEAD"):
            raise Refusal(403, "cross_site", "a page of another site may not ask this server")
        if scope["path"] == OPEN:
            return None
        if rules.rate and scope["method"] == "POST":
            client = (scope.get("client") or ["unknown"])[0]
            if not self._limiter.hit(RateLimitItemPerSecond(rules.rate), client):
                raise Refusal(429, "too_many_requests", f"more than {rules.rate} requests a second", 1)
        if rules.token is not None and (answer := self._authorised(scope, headers, rules.token)):
            return answer
        return None

    def _authorised(self, scope: Scope, headers: Headers, token: str) -> Response | None:
        """None if the request carries the token; a redirect that puts it into a cookie if it is in the address. Raises Refusal."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        in_address = dict(query).get("token")
        if in_address is not None and _same(in_address, token) and scope["method"] == "GET":
            rest = urlencode([(name, value) for name, value in query if name != "token"])
            response = RedirectResponse(scope["path"] + (f"?{rest}" if rest else ""), 303)
            response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
            return response
        # Not http.cookies: it gives up at what other servers on this machine may have set.
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        given = headers.get("authorization", "").removeprefix("Bearer ") or cookie
        if not _same(given, token):
            client = (scope.get("client") or ["unknown"])[0]
            if not self._limiter.hit(RateLimitItemPerSecond(GUESSES), "guesses", client):
                raise Refusal(429, "too_many_requests", f"more than {GUESSES} wrong tokens a second", 1)
            raise Refusal(401, "unauthorised", "the request needs the header `Authorization: Bearer TOKEN`")
        return None


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())
