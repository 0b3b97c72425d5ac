"""Limit access to Gradio: only the routes that the page itself uses, and no path or address that a request chooses.

Gradio checks whether a path in a request was uploaded only if it was started by `launch()`. Mounted into another
application, it copies any file that this process can read, and it fetches addresses. So both are refused here.
"""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import gradio as gr
from starlette.datastructures import Headers, QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stages.serving.container import errors
from stages.serving.container.errors import Refusal
from stages.serving.page import payloads, uploads
from stages.serving.page.hashes import Hashes

MAX_QUESTION = 256 * 1024
"""Largest size of a handler's inputs, in bytes: numbers, words and the names of uploaded files."""

READ = re.compile(r"/|/config|/theme\.css|/assets/.+|/static/.+|/gradio_api/(queue/data|upload_progress|file=.+)")
NO_NAME = re.compile(r"\0|[^/]{256}")
"""Parts that no file name has: Gradio would fail on them."""

UPLOAD, ASK, ANSWERS = "/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/queue/data"


class UploadGuard:
    """Gradio's application behind a list of allowed requests. Uploads are in ``folder``.

    One upload request, of one file or several, has at most ``max_upload`` bytes, all stored files together at most ``quota``.
    """

    def __init__(self, app: ASGIApp, page: gr.Blocks, folder: Path, max_upload: int, quota: int) -> None:
        self.app, self.page, self.folder = app, page, folder.resolve()
        self.max_upload, self.quota = max_upload, quota
        self._arriving = 0  # bytes of the uploads that are being received

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        try:
            if scope["method"] in ("GET", "HEAD") and self._may_read(path):
                await self._read(path, scope, receive, send)
            elif scope["method"] == "POST" and path in (UPLOAD, ASK):
                size = Headers(scope=scope).get("content-length", "")
                limit = self.max_upload if path == UPLOAD else MAX_QUESTION
                if not size.isdecimal() or int(size) > limit:
                    words = f"the body is larger than {limit:,} bytes, or Content-Length is missing"
                    raise Refusal(413, "too_large", words)
                await (self._upload if path == UPLOAD else self._ask)(scope, receive, send)
            else:
                raise Refusal(404, "not_found", "the page has no such path")
        except Refusal as refusal:
            await errors.response(refusal)(scope, receive, send)

    def _may_read(self, path: str) -> bool:
        """Return whether the page reads ``path``: of files only those in its folder. Gradio would also fetch addresses."""
        _, marker, name = path.partition("/gradio_api/file=")
        return bool(READ.fullmatch(path)) and not NO_NAME.search(path) and (not marker or self.holds(unquote(name)))

    def holds(self, name: str) -> bool:
        """Return whether ``name`` is a path to a file in the page's folder."""
        try:
            return Path(name).is_absolute() and Path(name).resolve().is_relative_to(self.folder)
        except (OSError, ValueError):  # a name that is too long, or with a zero byte
            return False

    async def _read(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        if path == ANSWERS:
            await self._answers(scope, receive, send)
            return
        if path == "/":  # `Hashes` reads the response, so it must not be compressed
            scope = {**scope, "headers": [one for one in scope["headers"] if one[0] != b"accept-encoding"]}
            send = Hashes(send)
        await self.app(scope, receive, send)

    async def _answers(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a session's messages while it lasts. For an unknown session, Gradio would log a traceback."""
        sessions = self.page._queue.pending_messages_per_session
        session = QueryParams(scope["query_string"]).get("session_hash", "")
        if session not in sessions:
            raise Refusal(404, "not_found", "unknown session: send a request first")
        try:
            await self.app(scope, receive, send)
        except (HTTPException, KeyError, RuntimeError):
            if session in sessions:
                raise
            print("page: a session ended while its messages were sent", flush=True)  # another request closed it

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if not headers.get("content-type", "").lower().startswith("multipart/form-data"):
            raise Refusal(415, "unsupported_type", "uploads are forms with files, `multipart/form-data`")
        size, kept = int(headers["content-length"]), await asyncio.to_thread(uploads.size, self.folder)
        if kept + self._arriving + size > self.quota:
            words = f"uploads have {kept:,} bytes of {self.quota:,}; they are deleted after some minutes"
            raise uploads.no_space(words)
        self._arriving += size
        try:
            await self.app(scope, receive, send)
        finally:
            self._arriving -= size

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            question = json.loads(await Request(scope, receive).body())
        except (ValueError, RecursionError, ClientDisconnect):
            raise Refusal(400, "not_json", "the body is not JSON") from None
        hosts = Headers(scope=scope).getlist("host")
        if any(self._strange(one, hosts) for one in _objects(question)):
            raise Refusal(400, "not_uploaded", "only files that were uploaded here can be read")
        if fault := payloads.fault(self.page, question):
            print(f"page: refused a request: {fault}", flush=True)
            raise Refusal(400, "invalid_input", fault)
        checked = payloads.checked(question)
        body: list[Message] = [{"type": "http.request", "body": checked, "more_body": False}]

        async def again() -> Message:
            return body.pop() if body else await receive()

        length = (b"content-length", b"%d" % len(checked))
        headers = [one for one in scope["headers"] if one[0] != b"content-length"]
        await self.app({**scope, "headers": [*headers, length]}, again, send)

    def _strange(self, one: dict[str, Any], hosts: list[str]) -> bool:
        """Return whether an object of the request names a file outside the page's folder, or an address on another host."""
        path, url = one.get("path"), one.get("url")
        if path is not None and not (isinstance(path, str) and self.holds(path)):
            return True
        if url is None:
            return "meta" in one and path is None  # Gradio would treat it as a file
        if not isinstance(url, str):
            return True
        try:
            parts = urlsplit(url)
        except ValueError:
            return True
        return bool(parts.scheme or parts.netloc) and (
            parts.scheme not in ("http", "https") or parts.netloc not in hosts
        )


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield all JSON objects in ``value``, at any depth."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
