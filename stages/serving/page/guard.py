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

UPLOAD, ANSWERS = "/gradio_api/upload", "/gradio_api/queue/data"
ASK = re.compile(rf"/gradio_api/queue/join|{UPLOAD}")


class UploadGuard:
    """Gradio's application behind a list of allowed requests. Uploads are in ``folder``.

    One upload has at most ``max_upload`` bytes, all stored ones together at most ``quota``.
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
        headers = Headers(scope=scope)
        if scope["method"] in ("GET", "HEAD"):
            if not READ.fullmatch(path) or NO_NAME.search(path) or not self._may_read(path):
                await _refuse(404, "not_found", "the page has no such path", scope, receive, send)
            elif path == "/":
                plain = [
                    header for header in scope["headers"] if header[0] != b"accept-encoding"
                ]  # `Hashes` reads the response, so it must not be compressed
                await self.app({**scope, "headers": plain}, receive, Hashes(send))
            elif path == ANSWERS:
                await self._answers(scope, receive, send)
            else:
                await self.app(scope, receive, send)
        elif scope["method"] == "POST" and ASK.fullmatch(path):
            size = headers.get("content-length", "")
            limit = self.max_upload if path == UPLOAD else MAX_QUESTION
            if not size.isdecimal() or int(size) > limit:
                words = f"the body is larger than {limit:,} bytes, or Content-Length is missing"
                await _refuse(413, "too_large", words, scope, receive, send)
            elif path == UPLOAD:
                await self._upload(int(size), scope, receive, send)
            else:
                await self._ask(scope, receive, send)
        else:
            await _refuse(404, "not_found", "the page has no such path", scope, receive, send)

    def _may_read(self, path: str) -> bool:
        """Return whether a file's route names one in the page's folder. Gradio would also fetch an address there."""
        _, marker, name = path.partition("/gradio_api/file=")
        return not marker or self.holds(unquote(name))

    def holds(self, name: str) -> bool:
        """Return whether ``name`` is a path to a file in the page's folder."""
        try:
            return Path(name).is_absolute() and Path(name).resolve().is_relative_to(self.folder)
        except (OSError, ValueError):  # a name that is too long, or with a zero byte
            return False

    async def _answers(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a session's messages while it lasts. For an unknown session, Gradio would log a traceback."""
        sessions = self.page._queue.pending_messages_per_session
        session = QueryParams(scope["query_string"]).get("session_hash", "")
        if session not in sessions:
            await _refuse(404, "not_found", "unknown session: send a request first", scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        except (HTTPException, KeyError, RuntimeError):
            if session in sessions:
                raise
            print("page: a session ended while its messages were sent", flush=True)  # another request closed it

    async def _upload(self, size: int, scope: Scope, receive: Receive, send: Send) -> None:
        if not Headers(scope=scope).get("content-type", "").lower().startswith("multipart/form-data"):
            words = "uploads are forms with files, `multipart/form-data`"
            await _refuse(415, "unsupported_type", words, scope, receive, send)
            return
        kept = await asyncio.to_thread(uploads.size, self.folder)
        if kept + self._arriving + size > self.quota:
            refusal = uploads.no_space(
                f"uploads have {kept:,} bytes of {self.quota:,}; they are deleted after some minutes"
            )
            await errors.response(refusal)(scope, receive, send)
            return
        self._arriving += size
        try:
            await self.app(scope, receive, send)
        finally:
            self._arriving -= size

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if message["type"] == "http.disconnect" or not message.get("more_body") or len(body) > MAX_QUESTION:
                break
        try:
            question = json.loads(body)
        except (ValueError, RecursionError):
            await _refuse(400, "not_json", "the body is not JSON", scope, receive, send)
            return
        hosts = Headers(scope=scope).getlist("host")
        if any(self._strange(one, hosts) for one in _objects(question)):
            await _refuse(400, "not_uploaded", "only files that were uploaded here can be read", scope, receive, send)
            return
        if fault := payloads.fault(self.page, question):
            print(f"page: refused a request: {fault}", flush=True)
            await _refuse(400, "invalid_input", fault, scope, receive, send)
            return
        checked = payloads.checked(question)
        sent = False

        async def again() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": checked, "more_body": False}

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


async def _refuse(status: int, code: str, message: str, scope: Scope, receive: Receive, send: Send) -> None:
    await errors.response(Refusal(status, code, message))(scope, receive, send)
