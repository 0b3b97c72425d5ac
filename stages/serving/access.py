"""Access rules for the API and the page: who may send requests, how often, and the headers of every response."""

import hmac
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

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
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
OPEN = "/ping"
"""Path that needs no token: health checks have none."""

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{0,5})?")
"""A Host header: a name or an address, and a port."""

COOKIE = "token"
GUESSES = 20
"""Requests per second from one address without the correct token that get 401. Further ones get 429."""


@dataclass(frozen=True)
class Rules:
    """``token``: None allows all clients. ``hosts``: allowed host names, None allows any; on loopback this blocks web pages
    whose own name was made to point here. ``proxies``, ``root_path``: see `Forwarded`. ``rate``: POST requests per second from one address, 0 means no limit; GET is not
    counted, since the page alone needs some fifty of them."""

    token: str | None
    hosts: frozenset[str] | None
    rate: int
    proxies: tuple[str, ...] = ()
    root_path: str = ""


class AccessGuard:
    """ASGI middleware that applies ``Rules`` and adds HEADERS to every response."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app, self._rules = app, rules
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # answered as GET; uvicorn leaves out the body
            scope = {**scope, "method": "GET"}

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
        """Return a response that replaces the application's, or None. Raise Refusal if a rule forbids the request."""
        rules, headers = self._rules, Headers(scope=scope)
        _check_host(scope, headers, rules.hosts)
        _check_origin(scope, headers)
        if scope["path"].removeprefix(scope.get("root_path", "")) == OPEN:
            return None
        if rules.rate and scope["method"] == "POST":
            self._count(scope, rules.rate, "requests")
        return None if rules.token is None else self._authorised(scope, headers, rules.token)

    def _authorised(self, scope: Scope, headers: Headers, token: str) -> Response | None:
        """Return None if the request carries the token. If the token is in the address, return a redirect that moves it
        into a cookie. Raise Refusal if the token is missing or wrong."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        in_address = dict(query).get("token")
        if in_address is not None and _same(in_address, token) and scope["method"] == "GET":
            rest = urlencode([(name, value) for name, value in query if name != "token"])
            path = "/" + scope["path"].lstrip("/")  # a browser would take //name for another server
            response = RedirectResponse(path + (f"?{rest}" if rest else ""), 303)
            response.set_cookie(
                COOKIE,
                token,
                path=scope.get("root_path") or "/",
                secure=scope["scheme"] == "https",
                httponly=True,
                samesite="strict",
            )
            return response
        # http.cookies would fail on some cookies that other servers on this machine may have set.
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        given = headers.get("authorization", "").removeprefix("Bearer ") or cookie
        if not _same(given, token):
            self._count(scope, GUESSES, "wrong tokens")
            raise Refusal(401, "unauthorised", "no valid token: send the header `Authorization: Bearer TOKEN`")
        return None

    def _count(self, scope: Scope, most: int, what: str) -> None:
        """Raise Refusal for more than ``most`` per second from one address."""
        client = (scope.get("client") or ["unknown"])[0]
        if not self._limiter.hit(RateLimitItemPerSecond(most), what, client):
            raise Refusal(429, "too_many_requests", f"more than {most} {what} per second", 1)


def _check_host(scope: Scope, headers: Headers, allowed: frozenset[str] | None) -> None:
    """Raise Refusal unless the request has one Host header with an allowed name."""
    names = headers.getlist("host")
    if not names and scope["http_version"] == "1.0":  # a simple health check; browsers always send Host
        return
    if len(names) != 1:
        raise Refusal(400, "no_http", f"found {len(names)} Host headers, expected one")
    host = HOST.fullmatch(names[0])
    name = host[1].lower().removesuffix(".") if host else None
    if name is None or (allowed is not None and name not in allowed):
        expected = " or ".join(sorted(allowed or {"a name or an address"}))
        words = f"host {names[0][:100]!r}: expected {expected}; other names are allowed with --allowed-host"
        raise Refusal(403, "unknown_host", words)


def _check_origin(scope: Scope, headers: Headers) -> None:
    """Raise Refusal if a page of another server sends the request. Links from such pages are allowed."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        foreign = site not in ("same-origin", "none")  # same-site: a page of another port of this machine
    else:  # not a browser, or one without TLS: it sends Origin unless it follows a link
        foreign = origin is not None and _server(origin) != headers.get("host")
    link = scope["method"] == "GET" and headers.get("sec-fetch-mode", "navigate") == "navigate" and origin is None
    if foreign and not link:
        raise Refusal(403, "cross_site", "a page of another site or port may not send requests to this server")


def _server(origin: str) -> str | None:
    """Return the name and port of an Origin header, None if it has none."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())
