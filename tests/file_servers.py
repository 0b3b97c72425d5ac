"""An HTTP server for files that also misbehaves, on loopback."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Fault = Callable[[BaseHTTPRequestHandler, bytes], bool]
"""Answers a request for some bytes wrongly and returns True, or returns False to have it answered rightly."""


class FileServer:
    """Serves ``content`` by path; the next requests meet the ``faults`` first, one each, in order."""

    def __init__(self, url: str, content: dict[str, bytes]) -> None:
        self.url = url
        self.content = content
        self.faults: list[Fault] = []
        self.ranges: list[str | None] = []


def status(code: int) -> Fault:
    def fault(handler: BaseHTTPRequestHandler, body: bytes) -> bool:
        handler.send_error(code)
        return True

    return fault


def cut_short(handler: BaseHTTPRequestHandler, body: bytes) -> bool:
    """Announces all, sends the first half, hangs up."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.close_connection = True
    return True


def corrupt(handler: BaseHTTPRequestHandler, body: bytes) -> bool:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(bytes(byte ^ 255 for byte in body))
    return True


def stall(handler: BaseHTTPRequestHandler, body: bytes) -> bool:
    """Sends the first half, then nothing for a while."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.wfile.flush()
    time.sleep(2)
    handler.close_connection = True
    return True


@contextlib.contextmanager
def file_server(content: dict[str, bytes]) -> Iterator[FileServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            body = files.content.get(self.path)
            requested = self.headers.get("Range")
            files.ranges.append(requested)
            if files.faults and files.faults.pop(0)(self, body or b""):
                return
            if body is None:
                self.send_error(404)
                return
            start = int(requested.removeprefix("bytes=").split("-")[0]) if requested else 0
            self.send_response(206 if requested else 200)
            if requested:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - start))
            self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/octet-stream")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body[start:])

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    files = FileServer(f"http://127.0.0.1:{server.server_port}", content)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield files
    finally:
        server.shutdown()
        server.server_close()
