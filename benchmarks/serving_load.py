"""Test the server under mixed load: good, bad and too large requests, slow clients, dropped connections.

    dvc repro && python -m benchmarks.serving_load [--minutes 10]

All exported models of this checkout are served, with their page. Good requests are the test images and hours of each
project. A few clients send them, each as soon as it has the response to the last one. At the end the server is told to
stop under the same load: it must respond to every request that it accepted. The report has the responses by kind, the
server's memory over time (proportional set size of all its processes), and the seconds until the server ended.
"""

import argparse
import asyncio
import collections
import contextlib
import random
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pandas as pd
import psutil
from tqdm import tqdm

from benchmarks import measuring, server
from benchmarks.digit_pictures import png
from stages.bikes.hours.columns import FORMAT, NAMES
from stages.common import files
from stages.landmarks import photographs
from stages.scones.layout import png as picture
from stages.serving.process import ENVIRONMENT

EVERY = 10.0
"""Seconds between two measurements of the memory."""

WARM = 0.25
"""The fraction of the time after which memory should be flat."""

Good = dict[str, tuple[str, list[bytes]]]


@dataclass
class Tally:
    """Counts of the requests' outcomes, and their times."""

    answers: collections.Counter[str] = field(default_factory=collections.Counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: collections.defaultdict(list))
    stopping: bool = False

    def add(self, kind: str, outcome: object) -> None:
        self.answers[f"{kind}{' (stopping)' if self.stopping else ''}: {outcome}"] += 1


def good_requests() -> Good:
    """Return the content type and bodies of valid requests, by project."""
    with np.load(files.require(Path("data/mnist/features"), "featurize@mnist") / "test.npz") as test:
        digits = [png(image) for image in test["images"]]
    with np.load(files.require(Path("data/scones/features"), "featurize@scones") / "test.npz") as test:
        vehicles = [picture(image) for image in test["images"]]
    raw = files.require(Path("data/landmarks/raw"), "prepare@landmarks")
    with photographs.open_archive(raw, "test") as archive:
        places = [archive.read(one.path) for one in photographs.read_index(raw, "test")]
    hours = pd.read_parquet(files.require(Path("data/bikes/features"), "featurize@bikes") / "hours.parquet")
    test_hours = hours.loc[hours["part"] == "test", NAMES]
    days = [test_hours[start : start + 24] for start in range(0, len(test_hours) - 24, 24)]
    tables = [day.to_csv(index=False, date_format=FORMAT).encode() for day in days]
    pictures = "application/octet-stream"
    return {
        "mnist": (pictures, digits),
        "scones": (pictures, vehicles),
        "landmarks": (pictures, places),
        "bikes": ("text/csv", tables),
    }


def memory(process: psutil.Process) -> float:
    """Return the GB of the process and its descendants: their proportional set sizes, which divide shared pages."""
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            total += one.memory_full_info().pss / 1e9
    return total


class Load:
    """Clients of one server, until they are cancelled or the server refuses connections."""

    def __init__(self, address: str, good: Good, tally: Tally) -> None:
        self.host, _, port = address.removeprefix("http://").partition(":")
        self.port = int(port)
        self.address, self.good, self.tally = address, good, tally
        self.random = random.Random(0)

    async def ask(
        self, session: aiohttp.ClientSession, kind: str, project: str, content_type: str, body: bytes
    ) -> None:
        begin = time.perf_counter()
        url = f"{self.address}/models/{project}/invocations"
        try:
            async with session.post(url, data=body, headers={"Content-Type": content_type}) as response:
                await response.read()
                self.tally.add(kind, response.status)
        except aiohttp.ClientConnectorError:
            self.tally.add(kind, "refused")
            if self.tally.stopping:
                raise asyncio.CancelledError from None
        except aiohttp.ClientError as error:
            self.tally.add(kind, type(error).__name__)
        self.tally.seconds[kind].append(time.perf_counter() - begin)

    async def asks_well(self, session: aiohttp.ClientSession, project: str) -> None:
        content_type, bodies = self.good[project]
        await self.ask(session, f"good, {project}", project, content_type, self.random.choice(bodies))

    async def asks_badly(self, session: aiohttp.ClientSession) -> None:
        project = self.random.choice(list(self.good))
        content_type, bodies = self.good[project]
        body = bytearray(self.random.choice(bodies))
        for _ in range(20):
            body[self.random.randrange(len(body))] = self.random.randrange(256)
        await self.ask(
            session, "bad", project, self.random.choice([content_type, "text/html", "application/json"]), bytes(body)
        )
        await asyncio.sleep(0.05)

    async def asks_too_much(self, session: aiohttp.ClientSession) -> None:
        await self.ask(session, "too large", "landmarks", "image/jpeg", bytes(40_000_000))
        await asyncio.sleep(2)

    async def asks_slowly(self, session: aiohttp.ClientSession) -> None:
        """Start a request and send one byte per second, until the server closes the connection."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        head = f"POST /models/mnist/invocations HTTP/1.1\r\nHost: {self.host}\r\nContent-Length: 1000\r\n"
        writer.write((head if self.random.random() < 0.5 else f"{head}\r\n").encode())  # half of the headers never end
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                if reader.at_eof():
                    break
                writer.write(b"a")
                await writer.drain()
                await asyncio.sleep(1)
        answer = await reader.read(15) if not reader.at_eof() else b""
        self.tally.add("slow", answer[9:12].decode() or "cut off")
        writer.close()

    async def drops(self, session: aiohttp.ClientSession) -> None:
        """Close the connection in the middle of a request, or before its response."""
        _, bodies = self.good["landmarks"]
        body = self.random.choice(bodies)
        _, writer = await asyncio.open_connection(self.host, self.port)
        head = (
            f"POST /models/landmarks/invocations HTTP/1.1\r\nHost: {self.host}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body[: len(body) // self.random.choice([1, 2])])
        await writer.drain()
        writer.transport.abort()
        self.tally.add("dropped", "by the client")
        await asyncio.sleep(0.2)

    async def repeat(self, act: Callable[[aiohttp.ClientSession], Awaitable[None]]) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:
            while True:
                try:
                    await act(session)
                except OSError as error:  # the server has closed the connection while the client was sending
                    if self.tally.stopping:
                        return
                    self.tally.add("slow or dropped", type(error).__name__)
                    await asyncio.sleep(0.1)

    def clients(self) -> list[asyncio.Task[None]]:
        def well(project: str) -> Callable[[aiohttp.ClientSession], Awaitable[None]]:
            return lambda session: self.asks_well(session, project)

        acts = [*(well(project) for project in self.good for _ in range(2))]
        acts += [self.asks_badly] * 2 + [self.asks_too_much] + [self.asks_slowly] * 10 + [self.drops] * 2
        return [asyncio.create_task(self.repeat(act)) for act in acts]


async def mixed(
    address: str, process: subprocess.Popen[bytes], minutes: float, tally: Tally
) -> tuple[list[float], float]:
    """Run the mixed load. Returns the memory in GB over time, and the seconds from SIGTERM to the server's end."""
    clients = Load(address, good_requests(), tally).clients()
    course = []
    for _ in tqdm(range(int(60 * minutes / EVERY)), desc="mixed load", unit=" measurements"):
        await asyncio.sleep(EVERY)
        course.append(await asyncio.to_thread(memory, psutil.Process(process.pid)))
    tally.stopping = True
    begin = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(process.wait)
    seconds = time.perf_counter() - begin
    await asyncio.sleep(1)
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    return course, seconds


def main(minutes: float) -> dict[str, Any]:
    tally = Tally()
    with server.running(Path.cwd()) as (address, process):
        course, seconds = asyncio.run(mixed(address, process, minutes, tally))
    warm = course[int(len(course) * WARM) :]
    for kind, count in sorted(tally.answers.items()):
        print(f"{count:>9,}  {kind}")
    half = len(warm) // 2
    early, late = float(np.median(warm[:half])), float(np.median(warm[half:]))
    print(
        f"memory after warm-up: first half {early:.3f} GB, second half {late:.3f} GB; ended {seconds:.1f} s after SIGTERM"
    )
    return {
        "threads": int(ENVIRONMENT["OMP_NUM_THREADS"]),
        "minutes": minutes,
        "answers": dict(sorted(tally.answers.items())),
        "p50_ms": {kind: 1e3 * float(np.median(times)) for kind, times in sorted(tally.seconds.items())},
        "p99_ms": {kind: 1e3 * float(np.percentile(times, 99)) for kind, times in sorted(tally.seconds.items())},
        "memory_gb": course,
        "memory_after_warm_up_gb": {"first half": early, "second half": late},
        "seconds_to_the_end": seconds,
    }


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=10.0)


if __name__ == "__main__":
    measuring.run(main, arguments)
