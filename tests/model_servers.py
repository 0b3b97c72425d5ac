"""Servers for tests: a tiny model that does what it is asked, its container, and connections written byte by byte."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
import yaml
from conftest import ROOT
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import ASGIApp

from stages.common import clocks, files
from stages.common.models import bundle
from stages.serving.container.server import Server

CONTAINER = ROOT / "stages" / "serving" / "container"

INFERENCE = """
import json, time
from pathlib import Path

CONTENT_TYPES = ("text/*", "application/octet-stream")

def model_fn(model_dir):
    return []

def input_fn(body, content_type):
    if body == b"unreadable":
        raise ValueError("this can't be read")
    if body.isdigit():
        error = RuntimeError(f"status {body.decode()}")
        error.status_code = int(body)
        raise error
    return body.decode("latin-1")

def batch_fn(items, worked_on):
    worked_on.extend(items)
    for item in items:
        word, _, rest = item.partition(" ")
        if word == "break":
            raise RuntimeError("the cause of it")
        if word == "sleep":
            time.sleep(float(rest))
        if word == "hold":
            Path(rest).mkdir(exist_ok=True)
            Path(rest, "held").touch()
            while not Path(rest, "released").exists():
                time.sleep(0.005)
    if "lose" in items:
        return []
    return [{"said": item, "batch": len(items), "worked_on": list(worked_on)} for item in items]

def predict_fn(item, worked_on):
    return batch_fn([item], worked_on)[0]

def output_fn(prediction, accept):
    if accept != "application/json":
        raise ValueError(f"an answer of type {accept!r} can't be given")
    return json.dumps(prediction)
"""
"""Answers what it was told. `sleep SECONDS` takes its time, `hold FOLDER` until there is a file `released` in it."""


CLASSIFIER = """
import json, time
from pathlib import Path
CONTENT_TYPES = ("text/*", "image/*", "application/octet-stream", "application/json")
def model_fn(model_dir):
    return None
def input_fn(body, content_type):
    word, _, rest = body.decode("latin-1")[:1000].partition(" ")
    if word == "read":
        Path(rest, str(time.monotonic_ns())).touch()
        while not Path(rest, "released").exists():
            time.sleep(0.01)
    return len(body)
def batch_fn(items, model):
    return [predict_fn(one, model) for one in items]
def predict_fn(item, model):
    return [0.9, 0.1]
def output_fn(prediction, accept):
    return json.dumps({"classes": ["yes", "no"], "probabilities": [prediction], "places": [[1.5, 2.5], [None, None]]})
"""
"""Says yes to all that it can read. `read FOLDER` takes until there is a file `released` in it."""


def until(condition: Callable[[], Any], seconds: float = 120.0) -> Any:
    """The first true value of ``condition``."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)
    return value


def archive(folder: Path, inference: str = INFERENCE) -> Path:
    """A model.tar.gz in ``folder`` with that code."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "inference.py").write_text(inference)
    bundle.pack(folder / "model.tar.gz", {"code/inference.py": folder / "inference.py"})
    (folder / "inference.py").unlink()
    return folder / "model.tar.gz"


def refused(response: httpx.Response, status: int, code: str) -> str:
    """The sentence of an answer that is a refusal with this status and this code, as JSON. It says if a retry may help."""
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert response.headers["content-type"] == "application/json"
    assert response.json().keys() == {"code", "message"}
    assert "Traceback" not in response.text
    assert status not in (429, 503, 507) or code == "internal" or int(response.headers["retry-after"]) >= 1
    return str(response.json()["message"])


def record(folder: Path) -> Path:
    """The dvc.lock and the metrics that `dvc repro` would have written with the exports under ``folder``."""
    lock = {}
    for path in sorted(folder.glob("models/*/export")):
        project, out = path.parent.name, path.relative_to(folder)
        files.write_json(folder / "reports" / project / "metrics.json", {"data": "sample", "accuracy": 0.5})
        files.write_json(folder / "reports" / project / "details.json", {"parameters": 10})
        lock[f"export@{project}"] = {"outs": [{"path": str(out), "md5": clocks.digest(path)}]}
    (folder / "dvc.lock").write_text(yaml.safe_dump({"stages": lock}))
    return folder


def exports(folder: Path, code: str, *projects: str) -> Path:
    """Models of ``projects`` with that code under ``folder``, as if `dvc repro` had made them."""
    for project in projects:
        archive(folder / "models" / project / "export", code)
    return record(folder)


class Served(NamedTuple):
    """A server in a process of its own."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.address, trust_env=False, timeout=120, **options)

    def connect(self) -> socket.socket:
        host, port = self.address.removeprefix("http://").rsplit(":", 1)
        return socket.create_connection((host, int(port)), timeout=120)

    def said(self, content: bytes) -> bytes:
        """All that is answered to these bytes, until the server closes the connection."""
        with self.connect() as connection:
            connection.sendall(content)
            return rest(connection)

    def refusal(self, content: bytes) -> tuple[int, str]:
        """The status and the code of the answer to these bytes."""
        head, _, body = self.said(content).partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)["code"]

    def children(self) -> list[psutil.Process]:
        return [one for one in psutil.Process(self.process.pid).children() if one.is_running()]

    def stopped(self, number: int = signal.SIGTERM) -> float:
        """Seconds from the signal to the end of the process."""
        begin = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(timeout=120)
        return time.monotonic() - begin


def load(client: httpx.Client, ask: Callable[[httpx.Client], httpx.Response], statuses: list[int]) -> list[str]:
    """Ask again and again until connections are refused. Adds to ``statuses``, and returns the errors of lost requests."""
    lost: list[str] = []
    with client:
        while True:
            try:
                statuses.append(ask(client).status_code)
            except httpx.ConnectError:
                return lost
            except httpx.TransportError as error:
                lost.append(repr(error))


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that runs in an event loop of its own."""

    @wraps(test)
    def run(*arguments: Any, **options: Any) -> None:
        asyncio.run(test(*arguments, **options))

    return run


@contextmanager
def in_this_process(application: ASGIApp, kind: type[Server] = Server) -> Iterator[Served]:
    """A server in a thread of this process, where limits can be short."""
    listener = socket.create_server(("127.0.0.1", 0))
    one = kind(application, listener)
    thread = threading.Thread(target=one.serve_until_stopped)
    thread.start()
    try:
        yield Served(None, f"http://127.0.0.1:{listener.getsockname()[1]}", Path())  # type: ignore[arg-type]
    finally:
        one.should_exit = True
        thread.join()


def rest(connection: socket.socket) -> bytes:
    """What comes until the connection is closed."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:  # closed before it had read all that was sent
        pass
    return b"".join(parts)


def measurements(client: httpx.Client) -> dict[tuple[str, ...], float]:
    """The values of /metrics by their names and labels, such as ("serving_model_ready", "model=mnist")."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    samples = (sample for family in families for sample in family.samples)
    return {(one.name, *(f"{k}={v}" for k, v in sorted(one.labels.items()))): one.value for one in samples}


def shared(served: Served, project: str) -> float:
    """How many requests have gone through the model together with others."""
    with served.client() as client:
        found = measurements(client)
    alone = found["serving_batch_requests_bucket", "le=1.0", f"model={project}"]
    return found["serving_batch_requests_count", f"model={project}"] - alone


@contextmanager
def running(
    command: Sequence[str],
    folder: Path,
    log: Path,
    address: Callable[[subprocess.Popen[bytes]], str | None],
    **more: str,
) -> Iterator[Served]:
    """A server that is started in ``folder``, and gone at the end. ``address`` finds where it is, None: not yet."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SERVING_")} | more
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:

        def found() -> str | None:
            assert process.poll() is None, log.read_text()
            return address(process)

        yield Served(process, until(found, 400), log)
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def container(folder: Path, *options: str, inference: str = INFERENCE) -> Iterator[Served]:
    """SageMaker's way: the container's code, a model folder in the environment, `serve`; on a port that the system picks."""
    shutil.copytree(CONTAINER, folder / "container", ignore=shutil.ignore_patterns("__pycache__"))
    bundle.unpack(archive(folder, inference), folder / "model")

    def address(process: subprocess.Popen[bytes]) -> str | None:
        ports = [one.laddr.port for one in psutil.Process(process.pid).net_connections("tcp") if one.status == "LISTEN"]
        if not ports:
            return None
        try:
            httpx.get(f"http://127.0.0.1:{ports[0]}/ping", timeout=5)
        except httpx.TransportError:
            return None
        return f"http://127.0.0.1:{ports[0]}"

    command = [sys.executable, "-E", "-s", "-m", "container", "serve", *options]
    settings = {"SM_MODEL_DIR": str(folder / "model"), "SAGEMAKER_BIND_TO_PORT": "0"}
    with running(command, folder, folder / "log", address, **settings) as served:
        yield served


def schemathesis(served: Served, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Let schemathesis ask the server what its description allows and forbids."""
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{served.address}/openapi.json"]
    # Random bytes are no picture: that what the description allows is accepted is for the other tests to say.
    command += ["--checks=all", "--exclude-checks=positive_data_acceptance", "--phases=examples,coverage,fuzzing"]
    return subprocess.run([*command, "--no-color", *options], cwd=folder, capture_output=True, text=True, check=False)


def printed_address(log: Path, wait: bool) -> str | None:
    """Where the server of this ``log`` is; with ``wait`` not before its models are loaded."""
    found = re.search(r"^Serving .* on (http://\S+)", log.read_text(), re.MULTILINE)
    if found and (not wait or httpx.get(f"{found[1]}/ping", timeout=10).status_code == 200):
        return found[1]
    return None


@contextmanager
def server(folder: Path, *options: str, wait: bool = True, page: bool = False, **environment: str) -> Iterator[Served]:
    """`python -m stages.serving` in ``folder``; with ``wait`` its models are loaded when the block begins."""

    def address(process: subprocess.Popen[bytes]) -> str | None:
        return printed_address(folder / "server.log", wait)

    command = [sys.executable, "-m", "stages.serving", "--port", "0", *([] if page else ["--no-page"]), *options]
    with running(
        command, folder, folder / "server.log", address, PYTHONPATH=str(ROOT), PYTHONUNBUFFERED="1", **environment
    ) as served:
        yield served
