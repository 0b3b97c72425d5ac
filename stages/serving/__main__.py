"""Serve every exported model under models/ over HTTP, with a web page.

    python -m stages.serving                              # http://127.0.0.1:8080
    python -m stages.serving --host 0.0.0.0 --token ...   # for other machines: their requests need the token

Each model is loaded in the background, in its own process. GET /ping returns 200 when they are ready. SIGTERM or Ctrl-C stops
the server after it has answered all accepted requests.
"""

import argparse
import ipaddress
import math
import os
import re
import socket
import time
from collections.abc import Callable

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
    rate: int,
    no_page: bool,
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
        from stages.serving.api import application
        from stages.serving.container.batching import Limits
        from stages.serving.container.body import BodyLimits
        from stages.serving.container.server import Server
        from stages.serving.guard import LOOPBACK, Rules
        from stages.serving.models import Models

    max_bytes = int(max_megabytes * 1e6)
    limits = Limits(max_batch, wait_ms / 1000, queue, timeout, max_bytes, 8 * max_bytes)
    models = Models(found, missing, limits)
    rules = Rules(token, LOOPBACK | {host} if is_loopback(host) else None, rate)
    app = application(models, rules, BodyLimits(max_bytes))
    stopping = None
    if not no_page:
        with requires("serving", "the page"):
            from stages.serving.page import blocks

        stopping = blocks.mount(app, models, max_bytes)
    server = Server(app, listener, stopping)
    address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
    print(f"Serving {', '.join(found)} on {address}  (documentation: {address}/docs)")
    for name, words in missing.items():
        print(f"not served: {name}: {words}")
    print(
        f"Accepting requests after {time.monotonic() - begin:.1f} s; models are being loaded. Ctrl-C stops the server.",
        flush=True,
    )
    server.serve_until_stopped()


def at_least(smallest: float, kind: type = float) -> Callable[[str], float]:
    """Return a parser for argparse that accepts finite numbers of type ``kind``, at least ``smallest``."""

    def number(text: str) -> float:
        value: float = kind(text)
        if not math.isfinite(value) or value < smallest:
            raise argparse.ArgumentTypeError(f"found {text}: expected at least {smallest:g}")
        return value

    number.__name__ = kind.__name__  # argparse shows this name if the text is not a number
    return number


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1: this machine only)")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on; 0: any free one (8080)")
    parser.add_argument("--token", help=f"token that requests must carry; default: the environment variable {TOKEN}")
    parser.add_argument(
        "--project", action="append", default=[], choices=list(projects.names()), help="only this project; repeatable"
    )
    parser.add_argument(
        "--max-batch", type=at_least(1, int), default=32, help="requests in a batch of a model (32; 1: no batches)"
    )
    parser.add_argument(
        "--wait-ms", type=at_least(0), default=2.0, help="longest wait of a request for others, in milliseconds (2)"
    )
    parser.add_argument(
        "--queue", type=at_least(1, int), default=256, help="requests that may wait for a model; more get 429 (256)"
    )
    parser.add_argument("--timeout", type=at_least(0.1), default=60.0, help="seconds until a request fails (60)")
    parser.add_argument("--max-megabytes", type=at_least(0.001), default=32.0, help="largest body of a request (32)")
    parser.add_argument(
        "--rate", type=at_least(0, int), default=0, help="POST requests per second from one address (0: no limit)"
    )
    parser.add_argument("--no-page", action="store_true", help="serve only the HTTP interface; starts faster")


if __name__ == "__main__":
    run(main, arguments)
