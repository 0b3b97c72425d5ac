"""Serve every exported model under models/ over HTTP, with a web page.

    python -m stages.serving                              # http://127.0.0.1:8080
    python -m stages.serving --host 0.0.0.0 --token ...   # for other machines: their requests need the token

Each model is loaded in the background, in its own process. GET /ping returns 200 when all are ready. SIGTERM or Ctrl-C stops
the server after it has answered all accepted requests.
"""

import argparse
import ipaddress
import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stages import projects
from stages.common.errors import InputError
from stages.common.program import requires, run
from stages.serving import exports

TOKEN = "SERVING_TOKEN"  # noqa: S105
"""Environment variable with the token that requests must carry."""


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"can't listen on {host} port {port}: {error}; choose another one with --port or --host"
        ) from None


def main(
    host: str,
    port: int,
    token: str | None,
    project: list[str],
    max_batch: int,
    wait_ms: float,
    queue: int,
    timeout: float,
    max_megabytes: float,
    model_seconds: float,
    rate: int,
    allowed_host: list[str],
    proxy: list[str],
    root_path: str,
    no_page: bool,
    capture: Path | None,
    capture_requests: int,
    capture_megabytes: float,
) -> None:
    begin = time.monotonic()
    token = token or os.environ.get(TOKEN) or None
    if token is not None and not re.fullmatch(r"[A-Za-z0-9._~+/=-]{8,}", token):  # valid in a header and in a cookie
        raise InputError("the token is invalid: expected 8 or more characters, only letters, digits and ._~+/=-")
    if not is_loopback(host) and token is None:
        raise InputError(f"--host {host} lets other machines send requests: set --token or {TOKEN}")
    found, missing = exports.find(project or list(projects.names()))
    if not found:
        raise InputError(f"there is no model to serve: {'; '.join(missing.values())}")
    listener = listen(host, port)

    # These imports are slow: they come after the checks, so that a wrong argument is reported at once.
    with requires("serving", "the server"):
        from stages.serving.access import LOOPBACK, Rules
        from stages.serving.api import application
        from stages.serving.capture import Captures
        from stages.serving.container.batching import Limits
        from stages.serving.container.body import BodyLimits
        from stages.serving.container.server import Server
        from stages.serving.models import Models

    max_bytes = int(max_megabytes * 1e6)
    limits = Limits(max_batch, wait_ms / 1000, queue, timeout, max_bytes, 8 * max_bytes, model_seconds)
    captures = Captures(capture, capture_requests, int(capture_megabytes * 1e6)) if capture else None
    models = Models(found, missing, limits, captures)
    hosts = LOOPBACK | {host, *allowed_host} if is_loopback(host) or allowed_host else None
    rules = Rules(token, hosts, rate, tuple(proxy), root_path)
    app = application(models, rules, BodyLimits(max_bytes, together=8 * max_bytes))
    stopping = None
    if not no_page:
        with requires("serving", "the page"):
            from stages.serving.page import blocks

        stopping = blocks.mount(app, models, max_bytes)
    server = Server(app, listener, stopping)
    address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
    print(f"Serving {', '.join(found)} on {address}  (documentation: {address}/docs)")
    if capture:
        print(f"Requests to the HTTP interface and their answers are kept in {capture}")
    for name, reason in missing.items():
        print(f"not served: {name}: {reason}")
    seconds = time.monotonic() - begin
    print(f"Accepting requests after {seconds:.1f} s; models are being loaded. Ctrl-C stops the server.", flush=True)
    server.serve_until_stopped()
    if captures:
        captures.close()


def between(smallest: float, largest: float, kind: type = float) -> Callable[[str], float]:
    """Return a parser for argparse that accepts numbers of type ``kind`` from ``smallest`` to ``largest``."""

    def number(text: str) -> float:
        value: float = kind(text)
        if not smallest <= value <= largest:  # NaN is refused, too
            raise argparse.ArgumentTypeError(f"found {text}: expected {smallest:g} to {largest:g}")
        return value

    number.__name__ = kind.__name__  # argparse shows this name if the text is not a number
    return number


def host_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]", text):
        raise argparse.ArgumentTypeError(
            f"found {text}: expected a name without scheme and port, such as models.example.org"
        )
    return text.lower().removesuffix(".")


def network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"found {text}: expected an address or a network: {error}") from None


def prefix(text: str) -> str:
    if not re.fullmatch(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)*/?", text):
        raise argparse.ArgumentTypeError(f"found {text}: expected a path such as /models or /a/b")
    return text.rstrip("/")


def arguments(parser: argparse.ArgumentParser) -> None:
    several: Any = {"action": "append", "default": []}

    def limit(name: str, smallest: float, largest: float, usual: float, words: str) -> None:
        """Add an option for a number of the type of ``usual``."""
        parser.add_argument(name, type=between(smallest, largest, type(usual)), default=usual, help=words)

    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1: this machine only)")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on; 0: any free one (8080)")
    parser.add_argument("--token", help=f"token that requests must carry; default: the environment variable {TOKEN}")
    parser.add_argument("--project", **several, choices=list(projects.names()), help="only this project; repeatable")
    limit("--max-batch", 1, 1024, 32, "largest number of requests in a batch (32; 1: no batches)")
    limit("--wait-ms", 0, 1000, 2.0, "longest wait of a request for others, in milliseconds (2)")
    limit("--queue", 1, 100_000, 256, "largest number of requests that wait for a model; further ones get 429 (256)")
    limit("--timeout", 0.1, 3600, 60.0, "seconds until a request fails (60)")
    limit("--max-megabytes", 0.001, 1000, 32.0, "largest body of a request (32)")
    limit("--model-seconds", 0.1, 3600, 30.0, "longest work of a model on one request (30)")
    limit("--rate", 0, 1_000_000, 0, "POST requests per second from one address (0: no limit)")
    parser.add_argument(
        "--allowed-host", **several, type=host_name, help="a name of this server in addresses; repeatable"
    )
    parser.add_argument(
        "--proxy",
        **several,
        type=network,
        help="address or network of a proxy whose X-Forwarded-* headers count; repeatable",
    )
    parser.add_argument(
        "--root-path", type=prefix, default="", help="path below which a proxy serves this server, such as /models"
    )
    parser.add_argument(
        "--capture",
        type=Path,
        metavar="FOLDER",
        help="keep requests and answers in this folder (default: none are kept)",
    )
    words = "largest number of kept requests; the oldest are deleted first (10000)"
    limit("--capture-requests", 1, 1_000_000, 10_000, words)
    limit("--capture-megabytes", 0.001, 1_000_000, 1000.0, "largest size of all kept requests in megabytes (1000)")
    parser.add_argument("--no-page", action="store_true", help="serve only the HTTP interface; starts faster")


if __name__ == "__main__":
    run(main, arguments)
