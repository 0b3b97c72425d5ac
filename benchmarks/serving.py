"""Measure the server's speed against itself without batching, and against a plain FastAPI endpoint with the same export.

    python -m benchmarks.serving [--seconds 10] [--rounds 3]

A CNN and the default network for digits are trained on the sample for one epoch; their accuracy does not matter here.
The plain endpoints call the functions of the export's own `inference.py`, in the event loop (`async def`) or in
FastAPI's thread pool, with as many torch threads as our models get. 32 clients send requests, in turns of some seconds
per server. Each sends the next request as soon as it has the response. One client alone gives the cost of HTTP: its
median time minus that of the same functions called directly.
"""

import argparse
import asyncio
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measuring, server, workspace
from benchmarks.digit_pictures import png
from stages.common.models import bundle
from stages.serving.process import ENVIRONMENT

CLIENTS = 32
THREADS = ENVIRONMENT["OMP_NUM_THREADS"]
NETWORKS = {"mnist CNN": "cnn", "mnist default": "mlp"}

PLAIN = """
import sys
sys.path.insert(0, "model/code")
import inference, torch, uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

torch.set_num_threads(int(sys.argv[2]))
model = inference.model_fn("model")
app = FastAPI()

def answer(body):
    return inference.output_fn(inference.predict_fn(inference.input_fn(body, "image/png"), model), "application/json")

@app.get("/ping")
def ping():
    return {}

@app.post("/loop")
async def loop(request: Request):
    return Response(answer(await request.body()), media_type="application/json")

@app.post("/threads")
async def threads(request: Request):
    return Response(await run_in_threadpool(answer, await request.body()), media_type="application/json")

uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
"""

DIRECT = """
import pickle, sys, time
sys.path.insert(0, "model/code")
import inference

bodies, model = pickle.load(sys.stdin.buffer), inference.model_fn("model")
for turn in range(100 + int(sys.argv[1])):
    begin = time.perf_counter()
    data = inference.input_fn(bodies[turn % len(bodies)], "image/png")
    inference.output_fn(inference.predict_fn(data, model), "application/json")
    if turn >= 100:  # the first calls compile
        print(time.perf_counter() - begin)
"""

Times = list[float]


def trained(folder: Path, network: str) -> None:
    """Train and export a classifier in ``folder``, record it in a dvc.lock there, and unpack it in ``folder``/model."""
    folder.mkdir()
    workspace.create(folder, {"mnist": {"network": network, "epochs": 1}})
    workspace.run(folder, "mnist", "prepare", "featurize", "train", "evaluate", "export")
    server.record(folder, "mnist")
    bundle.unpack(folder / "models/mnist/export/model.tar.gz", folder / "model")


def load(url: str, bodies: Sequence[bytes], clients: int, seconds: float) -> Times:
    """Send images from ``clients`` clients at a time. Returns the seconds of each response.

    Raises RuntimeError unless the status is 200. HTTP is written by hand: clients of httpx or aiohttp would take much
    of the cores, which the server needs.
    """
    host, _, path = url.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")
    head = f"POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: image/png\r\nContent-Length: "

    async def client(number: int, until: float, times: Times) -> None:
        reader, writer = await asyncio.open_connection(name, int(port))
        turn = number
        while (begin := time.perf_counter()) < until:
            body = bodies[turn % len(bodies)]
            turn += clients
            writer.write(f"{head}{len(body)}\r\n\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in answer[:20]:
                raise RuntimeError(answer.decode())
            length = answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            times.append(time.perf_counter() - begin)
        writer.close()

    async def all_clients() -> Times:
        times: Times = []
        until = time.perf_counter() + seconds
        await asyncio.gather(*(client(number, until, times) for number in range(clients)))
        return times

    return asyncio.run(all_clients())


def direct(folder: Path, bodies: Sequence[bytes], count: int) -> Times:
    """Call the export's functions in a process with the server's number of threads. Returns the seconds of each call."""
    command = [sys.executable, "-W", "ignore", "-c", DIRECT, str(count)]
    given, environment = pickle.dumps(bodies), ENVIRONMENT | os.environ
    output = subprocess.run(command, cwd=folder, input=given, stdout=subprocess.PIPE, check=True, env=environment)
    return [float(line) for line in output.stdout.split()]


def summary(times: Times, seconds: float) -> dict[str, float]:
    p50, p95, p99 = (float(1e3 * np.percentile(times, share)) for share in (50, 95, 99))
    return {"per_second": len(times) / seconds, "p50_ms": p50, "p95_ms": p95, "p99_ms": p99}


def compare(folder: Path, bodies: Sequence[bytes], seconds: float, rounds: int) -> dict[str, dict[str, float]]:
    """Return the medians over the rounds, by contestant."""
    with ExitStack() as stack:
        ours, _ = stack.enter_context(server.running(folder, "--no-page"))
        alone, _ = stack.enter_context(server.running(folder, "--no-page", "--max-batch", "1"))
        other, _ = stack.enter_context(server.started(folder, [THREADS], ["-W", "ignore", "-c", PLAIN]))
        server.wait(other)
        path = "/models/mnist/invocations"
        urls = {
            "with batching": f"{ours}{path}",
            "batching off": f"{alone}{path}",
            "plain FastAPI, event loop": f"{other}/loop",
            "plain FastAPI, threads": f"{other}/threads",
        }
        contestants = {name: partial(load, url, bodies, CLIENTS, seconds) for name, url in urls.items()}
        measured = measuring.in_turns(contestants, rounds)
        single = {"one client, over HTTP": load(f"{ours}{path}", bodies, 1, seconds)}
    single["called directly"] = direct(folder, bodies, 1000)
    result = {}
    for name, turns in measured.items():
        rows = [summary(times, seconds) for times in turns]
        result[name] = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
    return result | {name: summary(times, sum(times)) for name, times in single.items()}


def main(seconds: float, rounds: int) -> dict[str, Any]:
    results: dict[str, Any] = {"threads": int(THREADS), "clients": CLIENTS}
    with tempfile.TemporaryDirectory() as name:
        for title, network in NETWORKS.items():
            folder = Path(name, network)
            trained(folder, network)
            with np.load(folder / "data/mnist/features/test.npz") as test:
                bodies = [png(image) for image in test["images"][:256]]
            found = compare(folder, bodies, seconds, rounds)
            rate = {contestant: row["per_second"] for contestant, row in found.items()}
            fastest = max(rate["plain FastAPI, event loop"], rate["plain FastAPI, threads"])
            ratios = {
                "against batching off": rate["with batching"] / rate["batching off"],
                "against the faster plain one": rate["with batching"] / fastest,
                "http_ms": found["one client, over HTTP"]["p50_ms"] - found["called directly"]["p50_ms"],
            }
            print(f"\n{title:28}{'requests/s':>12}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}")
            for contestant, row in found.items():
                latency = "".join(f"{row[part]:>9.2f}" for part in ("p50_ms", "p95_ms", "p99_ms"))
                print(f"{contestant:28}{row['per_second']:>12.0f}{latency}")
            print(", ".join(f"{key} {value:.2f}" for key, value in ratios.items()))
            results[title] = {"measured": found, "ratios": ratios}
    return results


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each turn")
    parser.add_argument("--rounds", type=int, default=3)


if __name__ == "__main__":
    measuring.run(main, arguments)
