"""Measure the server's speed against itself without batching, and against FastAPI and LitServe with the same export.

    make env GROUPS="serving benchmarks"
    python -m benchmarks.serving [--seconds 10] [--rounds 3] [--json FILE]

A CNN and the default network for digits are trained on the sample for one epoch; their accuracy does not matter here.
The other servers call the functions of the export's own `inference.py` with as many torch threads as our models get:
plain FastAPI in the event loop (`async def`) or in its thread pool, and LitServe in batches of up to 32, for which it
waits as long as ours does, or not at all. 32 clients send requests, in turns of some seconds per server. Each sends the next request as soon as
it has the response; LitServe reads no bare picture, so it gets the picture in JSON. One client alone gives the cost of
HTTP: its median time minus that of the same functions called directly.

The limit is the number of requests that the functions alone could answer, called directly with full batches, on all
cores that the benchmark may use. The servers share these cores with HTTP and with the clients.
"""

import argparse
import asyncio
import base64
import json
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

from benchmarks import limits, measuring, server, workspace
from benchmarks.digit_pictures import png
from stages.common import program
from stages.common.models import bundle
from stages.serving.process import ENVIRONMENT

CLIENTS = 32
THREADS = ENVIRONMENT["OMP_NUM_THREADS"]
NETWORKS = {"mnist CNN": "cnn", "mnist default": "mlp"}
WAITS = {"LitServe": "0.002", "LitServe, no waiting": "0"}
"""Seconds that LitServe waits for a batch. Ours waits as long as the first by default (`--wait-ms`)."""

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

LITSERVE = """
import base64, sys
sys.path.insert(0, "model/code")
import inference, litserve, torch
from fastapi import Response

class Digits(litserve.LitAPI):
    def setup(self, device):
        torch.set_num_threads(int(sys.argv[2]))
        self.model = inference.model_fn("model")

    def decode_request(self, request):
        return inference.input_fn(base64.b64decode(request["image"]), "image/png")

    def batch(self, inputs):
        return inputs

    def predict(self, inputs):
        return inference.batch_fn(inputs, self.model)

    def unbatch(self, outputs):
        return outputs

    def encode_response(self, output):
        return Response(inference.output_fn(output, "application/json"), media_type="application/json")

if __name__ == "__main__":
    api = Digits(max_batch_size=32, batch_timeout=float(sys.argv[3]))
    litserve.LitServer(api, accelerator="cpu").run(
        "127.0.0.1", int(sys.argv[1]), log_level="warning", generate_client_file=False
    )
"""

DIRECT = """
import pickle, sys, time
sys.path.insert(0, "model/code")
import inference

bodies, model, count, size = pickle.load(sys.stdin.buffer), inference.model_fn("model"), *map(int, sys.argv[1:])
for turn in range(100 + count):
    chosen = [bodies[(turn * size + place) % len(bodies)] for place in range(size)]
    begin, began = time.perf_counter(), time.process_time()
    found = inference.batch_fn([inference.input_fn(body, "image/png") for body in chosen], model)
    for one in found:
        inference.output_fn(one, "application/json")
    if turn >= 100:  # the first calls compile
        print(time.perf_counter() - begin, time.process_time() - began)
"""

Times = list[float]


def trained(folder: Path, network: str) -> None:
    """Train and export a classifier in ``folder``, record it in a dvc.lock there, and unpack it in ``folder``/model."""
    folder.mkdir()
    workspace.create(folder, {"mnist": {"network": network, "epochs": 1}})
    workspace.run(folder, "mnist", "prepare", "featurize", "train", "evaluate", "export")
    server.record(folder, "mnist")
    bundle.unpack(folder / "models/mnist/export/model.tar.gz", folder / "model")


def load(url: str, bodies: Sequence[bytes], clients: int, seconds: float, kind: str = "image/png") -> Times:
    """Send ``bodies`` of a content type from ``clients`` clients at a time. Returns the seconds of each response.

    Raises RuntimeError unless the status is 200. HTTP is written by hand: clients of httpx or aiohttp would take much
    of the cores, which the server needs.
    """
    host, _, path = url.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")
    head = f"POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: "

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


def direct(folder: Path, bodies: Sequence[bytes], count: int, size: int = 1) -> tuple[Times, Times]:
    """Call the export's functions with ``count`` batches in a process with the server's number of threads.

    Returns the seconds of each batch, and its processor time.
    """
    command = [sys.executable, "-W", "ignore", "-c", DIRECT, str(count), str(size)]
    given, environment = pickle.dumps(bodies), ENVIRONMENT | os.environ
    output = subprocess.run(command, cwd=folder, input=given, stdout=subprocess.PIPE, check=True, env=environment)
    rows = [list(map(float, line.split())) for line in output.stdout.splitlines()]
    return [wall for wall, _ in rows], [spent for _, spent in rows]


def summary(times: Times, seconds: float) -> dict[str, float]:
    p50, p95, p99 = (float(1e3 * np.percentile(times, share)) for share in (50, 95, 99))
    return {"per_second": len(times) / seconds, "p50_ms": p50, "p95_ms": p95, "p99_ms": p99}


def compare(folder: Path, bodies: Sequence[bytes], seconds: float, rounds: int) -> dict[str, dict[str, float]]:
    """Return the medians over the rounds, by contestant."""
    wrapped = [json.dumps({"image": base64.b64encode(body).decode()}).encode() for body in bodies]
    with ExitStack() as stack:
        ours, _ = stack.enter_context(server.running(folder, "--no-page"))
        alone, _ = stack.enter_context(server.running(folder, "--no-page", "--max-batch", "1"))
        other, _ = stack.enter_context(server.started(folder, [THREADS], ["-W", "ignore", "-c", PLAIN]))
        server.wait(other)
        (folder / "litserve_server.py").write_text(LITSERVE)  # it starts processes, which import this file
        path = "/models/mnist/invocations"
        urls = {
            "this server": f"{ours}{path}",
            "this server, batching off": f"{alone}{path}",
            "plain FastAPI, event loop": f"{other}/loop",
            "plain FastAPI, threads": f"{other}/threads",
        }
        contestants = {name: partial(load, url, bodies, CLIENTS, seconds) for name, url in urls.items()}
        for name, wait in WAITS.items():
            command = ["-W", "ignore", "litserve_server.py"]
            address, _ = stack.enter_context(server.started(folder, [THREADS, wait], command))
            server.wait(address, "/health")
            contestants[name] = partial(load, f"{address}/predict", wrapped, CLIENTS, seconds, "application/json")
        measured = measuring.in_turns(contestants, rounds)
        single = {"one client, over HTTP": load(f"{ours}{path}", bodies, 1, seconds)}
    single["called directly"], _ = direct(folder, bodies, 1000)
    result = {}
    for name, turns in measured.items():
        rows = [summary(times, seconds) for times in turns]
        result[name] = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
    return result | {name: summary(times, sum(times)) for name, times in single.items()}


def limit(folder: Path, bodies: Sequence[bytes]) -> float:
    """Return the requests per second that the export's functions alone could answer on all cores in full batches."""
    _, spent = direct(folder, bodies, 100, CLIENTS)
    return len(os.sched_getaffinity(0)) * CLIENTS / statistics.median(spent)


def main(seconds: float, rounds: int) -> dict[str, Any]:
    with program.requires("benchmarks", "LitServe"):
        import litserve  # noqa: F401  (its own process imports it later)
    results: dict[str, Any] = limits.processor() | {"threads": int(THREADS), "clients": CLIENTS}
    with tempfile.TemporaryDirectory() as name:
        for title, network in NETWORKS.items():
            folder = Path(name, network)
            trained(folder, network)
            with np.load(folder / "data/mnist/features/test.npz") as test:
                bodies = [png(image) for image in test["images"][:256]]
            found, most = compare(folder, bodies, seconds, rounds), limit(folder, bodies)
            rate = {contestant: row["per_second"] for contestant, row in found.items()}
            ours = rate["this server"]
            ratios = {
                "against batching off": ours / rate["this server, batching off"],
                "against the faster plain one": ours / max(rate[one] for one in rate if one.startswith("plain")),
                "against the faster LitServe": ours / max(rate[one] for one in WAITS),
                "http_ms": found["one client, over HTTP"]["p50_ms"] - found["called directly"]["p50_ms"],
            }
            print(f"\n{title:28}{'requests/s':>12}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}")
            for contestant, row in found.items():
                latency = "".join(f"{row[part]:>9.2f}" for part in ("p50_ms", "p95_ms", "p99_ms"))
                print(f"{contestant:28}{row['per_second']:>12.0f}{latency}")
            print(", ".join(f"{key} {value:.2f}" for key, value in ratios.items()))
            print(f"limit {most:.0f} requests/s: ours answers {ours / most:.1%} of it")
            results[title] = {"measured": found, "ratios": ratios}
            results[title] |= {"limit_per_second": most, "fraction_of_limit": ours / most}
    return results


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each turn")
    parser.add_argument("--rounds", type=int, default=3)


if __name__ == "__main__":
    measuring.run(main, arguments)
