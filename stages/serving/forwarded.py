"""Find a request's client, and the address that it used, if the server is behind a proxy."""

import re

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from stages.serving.access import HEADERS
from stages.serving.container import errors
from stages.serving.container.errors import Refusal

PREFIX = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)*")
"""A path below which a proxy serves this server: empty, or such as /models or /a/b."""


class Forwarded:
    """ASGI middleware that applies X-Forwarded-For, -Proto, -Host and -Prefix of the named proxies.

    It removes these headers from all requests, so that no library behind it trusts those of other clients. ``proxies`` are
    addresses and networks. ``root_path`` is the prefix of requests without X-Forwarded-Prefix. A proxy may remove the prefix
    from a request's path or keep it. If the server has a path of the same name itself, the proxy has to remove it.
    """

    def __init__(self, app: ASGIApp, proxies: tuple[str, ...], root_path: str) -> None:
        self._app, self._root_path = app, root_path
        # uvicorn's middleware applies X-Forwarded-For and -Proto.
        self._named = ProxyHeadersMiddleware(self._apply, list(proxies))  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = scope.get("client")
        if client is None or client[0] not in self._named.trusted_hosts:
            scope = {**scope, "headers": [one for one in scope["headers"] if not _forwarded(one[0])]}
        await self._named({**scope}, receive, send)  # type: ignore[arg-type]

    async def _apply(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = {name: value.decode("latin-1") for name, value in scope["headers"] if _forwarded(name)}
        headers = [one for one in scope["headers"] if not _forwarded(one[0])]
        # A proxy that keeps what it received appends its own value.
        if host := sent.get(b"x-forwarded-host", "").split(",")[-1].strip():
            headers = [one for one in headers if one[0] != b"host"] + [(b"host", host.encode("latin-1"))]
        prefix = sent.get(b"x-forwarded-prefix", self._root_path).split(",")[-1].strip().rstrip("/")
        if not PREFIX.fullmatch(prefix):
            words = f"X-Forwarded-Prefix: found {prefix[:100]!r}, expected a path such as /models"
            answer = errors.response(Refusal(400, "invalid_prefix", words))
            answer.headers.update(HEADERS)  # the guard is behind this middleware
            await answer(scope, receive, send)
            return
        path, raw_path = scope["path"], scope.get("raw_path") or b""
        kept = path == prefix or path.startswith(f"{prefix}/")
        if prefix and (not kept or prefix.split("/")[1] in _own_names(scope)):
            path, raw_path = prefix + path, prefix.encode() + raw_path
        scope = {**scope, "headers": headers, "root_path": prefix, "path": path, "raw_path": raw_path}
        await self._app(scope, receive, send)


def _forwarded(name: bytes) -> bool:
    # Gradio would take the page's address from X-Gradio-Server.
    return name == b"forwarded" or name.startswith((b"x-forwarded-", b"x-gradio-"))


def _own_names(scope: Scope) -> set[str]:
    """Return the first parts of the application's own paths."""
    return {route.path.split("/")[1] for route in scope["app"].routes}
