"""Connections that never end: what /ping takes for others meanwhile."""

import statistics
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from threading import Event

from model_servers import Served

PING = 50  # ms, while others attack

POST = b"POST /models/mnist/invocations HTTP/1.1\r\nHost: localhost\r\n"


def endless(one: Served, size: int) -> None:
    """Send a header without an end until the server closes the connection."""
    with one.connect() as connection, suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(b"GET /ping HTTP/1.1\r\nHost: localhost\r\nX: ")
        for _ in range(size // 16_384):
            connection.sendall(16_384 * b"x")


def pings(one: Served, attack: Callable[[Event], None], count: int = 100) -> float:
    """The median of the seconds of /ping during an attack."""
    over, seconds = Event(), []
    with ThreadPoolExecutor(1) as pool, one.client() as client:
        running = pool.submit(attack, over)
        for _ in range(count):
            begin = time.perf_counter()
            assert client.get("/ping").status_code in (200, 503)
            seconds.append(time.perf_counter() - begin)
            time.sleep(0.01)
        over.set()
        running.result()
    return statistics.median(seconds)


def attacks(one: Served) -> dict[str, Callable[[Event], None]]:
    def header(over: Event) -> None:
        while not over.is_set():
            endless(one, 50_000_000)

    def body(over: Event) -> None:
        with one.connect() as connection, suppress(OSError):
            connection.sendall(POST + b"Content-Length: 9999\r\n\r\n")
            while not over.wait(0.01):
                connection.sendall(b"x")

    def chunks(over: Event) -> None:
        while not over.is_set():
            with one.connect() as connection, suppress(OSError):
                connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
                while not over.is_set():
                    connection.sendall(10_000 * b"1\r\nx\r\n")

    def idle(over: Event) -> None:
        with ExitStack() as connections:
            for _ in range(500):
                connections.enter_context(one.connect())
            over.wait(60)

    return {"an endless header": header, "a slow body": body, "chunks of a byte": chunks, "500 idle connections": idle}


def run(one: Served) -> Counter[str]:
    """Returns the outcomes by kind: the median of /ping's milliseconds during each attack."""
    outcomes: Counter[str] = Counter()
    for name, attack in attacks(one).items():
        milliseconds = 1000 * pings(one, attack)
        outcomes[f"{'held' if milliseconds < PING else 'lost'}: {milliseconds:.1f} ms during {name}"] += 1
    return outcomes
