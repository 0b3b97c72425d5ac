"""HTTP servers on loopback: for files, also one that misbehaves, and for what else a test answers."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Answers each request by `respond`, without a line in the log for it."""

    def respond(self) -> None:
        raise NotImplementedError

    def do_GET(self) -> None:
        self.respond()

    do_HEAD = do_POST = do_GET  # noqa: N815 (names of http.server)

    def begin(self, status: int, length: int, **headers: str) -> None:
        """Send the head of an answer with ``length`` bytes; in ``headers`` `_` stands for `-`."""
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.begin(status, len(body), **headers)
        self.wfile.write(body)

    def content(self) -> bytes:
        """What the request brings."""
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(handler: type[Handler]) -> Iterator[str]:
    """A server in this process; yields its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


Fault = Callable[[Handler, bytes], bool]
"""Answers a request for some bytes wrongly and returns True, or returns False to have it answered rightly."""


class FileServer:
    """Serves ``content`` by path; the next requests meet the ``faults`` first, one each, in order."""

    def __init__(self, content: dict[str, bytes]) -> None:
        self.url = ""
        self.content = content
        self.faults: list[Fault] = []
        self.ranges: list[str | None] = []


def status(code: int) -> Fault:
    def fault(handler: Handler, body: bytes) -> bool:
        handler.send_error(code)
        return True

    return fault


def cut_short(handler: Handler, body: bytes) -> bool:
    """Announces all, sends the first half, hangs up."""
    handler.begin(200, len(body))
    handler.wfile.write(body[: len(body) // 2])
    handler.close_connection = True
    return True


def corrupt(handler: Handler, body: bytes) -> bool:
    handler.answer(bytes(byte ^ 255 for byte in body))
    return True


def stall(handler: Handler, body: bytes) -> bool:
    """Sends the first half, then nothing for a while."""
    cut_short(handler, body)
    handler.wfile.flush()
    time.sleep(2)
    return True


@contextmanager
def file_server(content: dict[str, bytes]) -> Iterator[FileServer]:
    files = FileServer(content)

    class Files(Handler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            body = files.content.get(self.path)
            requested = self.headers.get("Range")
            files.ranges.append(requested)
            if files.faults and files.faults.pop(0)(self, body or b""):
                return
            if body is None:
                self.send_error(404)
                return
            start = int(requested.removeprefix("bytes=").split("-")[0]) if requested else 0
            part = {"Content_Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if requested else {}
            kind = "text/html" if self.path.endswith("/") else "application/octet-stream"
            self.begin(206 if requested else 200, len(body) - start, Content_Type=kind, **part)
            if self.command == "GET":
                self.wfile.write(body[start:])

    with serving(Files) as files.url:
        yield files
