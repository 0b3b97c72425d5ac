"""Serves every exported model under models/: an HTTP interface, and a page for people.

    python -m stages.serving                              # http://127.0.0.1:8080
    python -m stages.serving --host 0.0.0.0 --token ...   # for others: they need the token

The models are loaded in the background, each by a process of its own; GET /ping answers 200 when they are ready. SIGTERM and
Ctrl-C end the server when all that it has accepted is answered.
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
from stages.common.program import InputError, requires, run
from stages.serving import exports

TOKEN = "SERVING_TOKEN"  # noqa: S105
"""The environment variable that may hold what others have to know to ask."""


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
            f"can't listen on {host} port {port}: {error}; name another one with --port or --host"
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
    if token is not None and not re.fullmatch(r"[A-Za-z0-9._~+/=-]{8,}", token):  # what a header and a cookie can carry
        raise InputError("the token has to be 8 or more letters, digits or characters of ._~+/=-")
    if not is_loopback(host) and token is None:
        raise InputError(f"--host {host} lets others ask: give them a --token, or set {TOKEN}")
    found, missing = exports.find(project or list(projects.names()))
    if not found:
        raise InputError(f"there is no model to serve: {'; '.join(missing.values())}")
    listener = listen(host, port)

    # Only now what takes its time to import: a wrong argument is told at once.
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
        f"Accepting requests after {time.monotonic() - begin:.1f} s; models are being loaded. Ctrl-C ends it.",
        flush=True,
    )
    server.serve_until_stopped()


def at_least(smallest: float, kind: type = float) -> Callable[[str], float]:
    """For argparse: a finite number of that ``kind`` which is not smaller."""

    def number(text: str) -> float:
        value: float = kind(text)
        if not math.isfinite(value) or value < smallest:
            raise argparse.ArgumentTypeError(f"found {text}: expected at least {smallest:g}")
        return value

    number.__name__ = kind.__name__  # argparse names it where the text is no number at all
    return number


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1: this machine alone)")
    parser.add_argument("--port", type=int, default=8080, help="0: one that is free (8080)")
    parser.add_argument("--token", help=f"what others have to know; also from the environment, {TOKEN}")
    parser.add_argument(
        "--project", action="append", default=[], choices=list(projects.names()), help="only this one; may be repeated"
    )
    parser.add_argument(
        "--max-batch", type=at_least(1, int), default=32, help="requests that go through a model together (32; 1: none)"
    )
    parser.add_argument(
        "--wait-ms", type=at_least(0), default=2.0, help="milliseconds that a request waits for others at most (2)"
    )
    parser.add_argument(
        "--queue", type=at_least(1, int), default=256, help="requests that may wait for a model; more get 429 (256)"
    )
    parser.add_argument("--timeout", type=at_least(0.1), default=60.0, help="seconds for an answer (60)")
    parser.add_argument("--max-megabytes", type=at_least(0.001), default=32.0, help="of a request's body (32)")
    parser.add_argument(
        "--rate", type=at_least(0, int), default=0, help="requests a second of one address (0: any number)"
    )
    parser.add_argument("--no-page", action="store_true", help="the HTTP interface alone; starts faster")


if __name__ == "__main__":
    run(main, arguments)
