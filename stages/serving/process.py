"""A model.tar.gz served by a process of its own, which finds nothing of this project: only the archive and the container's code."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from stages.common.models import bundle
from stages.common.program import InputError

CONTAINER = Path(__file__).with_name("container")
ENVIRONMENT = {
    # glibc keeps a batch's memory for the next one, as in training (`torch_setup`): fresh pages cost as much as a small network.
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    # Half of the cores: HTTP needs the others. Threads that compute together wait for the slowest at every layer, so two
    # threads on two cores, one of which has other work, are ten times slower than one.
    "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 2)),
}
"""Of a model's process; what the caller's own environment says goes before it."""


@contextmanager
def launched(
    archive: Path, start: float = 120.0, options: Sequence[str] = (), unwanted: threading.Event | None = None
) -> Iterator[str]:
    """The archive unpacked into an empty folder and served from there; the block gets the address, when the model is loaded.

    ``start`` is in seconds, ``options`` are the container's, ``unwanted`` ends the wait for the model. The server listens on
    loopback alone, on a port that the system picks, and is gone when the block ends, also when this process is killed. What it
    writes goes to standard error. Raises InputError if it doesn't start.
    """
    with tempfile.TemporaryDirectory(prefix="deployed-") as empty, socket.create_server(("127.0.0.1", 0)) as listener:
        bundle.unpack(archive, Path(empty, "model"))
        shutil.copytree(CONTAINER, Path(empty, "container"), ignore=shutil.ignore_patterns("__pycache__"))
        # -E and -s: of all that may lie on an import path there is the working folder, and installed packages.
        python = [sys.executable, "-E", "-s", "-W", "ignore::FutureWarning"]
        server = subprocess.Popen(
            [*python, "-m", "container", "model", "--fd", str(listener.fileno()), *options],
            cwd=empty,
            env=ENVIRONMENT | os.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[listener.fileno()],
        )
        said = Said(server)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.close()  # the server's alone: once that is dead, connections are refused and wait for nobody
        try:
            _wait(server, address, said, start, unwanted or threading.Event())
            yield address
        finally:
            assert server.stdin
            server.stdin.close()  # which ends it
            try:
                server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
            said.join()


class Said(threading.Thread):
    """Passes on what a process writes, and remembers the last line of it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        super().__init__(daemon=True)
        assert process.stdout
        self._lines = process.stdout
        self.last = ""
        self.start()

    def run(self) -> None:
        with self._lines:
            for line in self._lines:
                text = line.decode(errors="replace").rstrip()
                self.last = text or self.last
                print(text, file=sys.stderr, flush=True)


def _wait(server: subprocess.Popen[bytes], address: str, said: Said, seconds: float, unwanted: threading.Event) -> None:
    deadline = time.monotonic() + seconds
    with httpx.Client(timeout=1.0, trust_env=False) as client:
        while time.monotonic() < deadline:
            if unwanted.is_set():
                raise InputError("the model is served no longer")
            if server.poll() is not None:
                said.join()
                raise InputError(f"the exported model's server ended at its start: {said.last or 'no output'}")
            try:
                # The listening socket accepts at once; the answer comes when the model is loaded.
                if client.get(f"{address}/ping").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
    raise InputError(f"the exported model's server did not answer within {seconds:.0f} s")


class ModelProcess:
    """One archive's process: started once, and again after it has died. Any number of threads may call it."""

    def __init__(self, archive: Path, options: Sequence[str] = ()) -> None:
        self._archive, self._options = archive, options
        self._running = ExitStack()
        self._address: str | None = None
        self._stopped = threading.Event()
        self._lock = threading.Lock()

    def start(self) -> str:
        """Its address, when the model is loaded, which it may be already. Raises InputError if that fails."""
        with self._lock:
            if self._stopped.is_set():
                raise InputError("the model is served no longer")
            if self._address is None:
                started = launched(self._archive, options=self._options, unwanted=self._stopped)
                self._address = self._running.enter_context(started)
            return self._address

    def died(self, address: str) -> None:
        """Clear away what is left of the process at ``address``, unless that was done and another one runs already."""
        with self._lock:
            if self._address == address:
                self._address = None
                self._running.close()

    def stop(self) -> None:
        """For good."""
        self._stopped.set()  # before the lock, which is held while the model is loaded
        with self._lock:
            self._address = None
            self._running.close()


@dataclass(frozen=True)
class Answer:
    """What the server said, and after how many seconds."""

    body: bytes
    seconds: float


class Endpoint:
    """A model that answers over HTTP on this machine."""

    def __init__(self, client: httpx.Client) -> None:
        self.address = str(client.base_url)
        self._client = client

    def invoke(self, body: bytes, content_type: str, accept: str = "application/json") -> Answer:
        """Ask for predictions. Raises InputError with the server's words if it refuses."""
        begin = time.perf_counter()
        response = self._client.post(
            "/invocations", content=body, headers={"Content-Type": content_type, "Accept": accept}
        )
        seconds = time.perf_counter() - begin
        if response.status_code != 200:
            raise InputError(f"the exported model answered HTTP {response.status_code}: {response.text[:500]}")
        return Answer(response.content, seconds)


@contextmanager
def serve(archive: Path, answer: float = 60.0) -> Iterator[Endpoint]:
    """The archive served for as long as the block lasts. ``answer`` is the time limit of a request, in seconds."""
    with launched(archive) as address, httpx.Client(base_url=address, timeout=answer, trust_env=False) as client:
        yield Endpoint(client)


def latency(seconds: Sequence[float], rows: int) -> dict[str, float]:
    """Percentiles of a request's time in milliseconds, and rows a second over all of them."""
    p50, p95, p99 = np.percentile(np.asarray(seconds) * 1000, [50, 95, 99])
    return {
        "p50_ms": round(float(p50), 3),
        "p95_ms": round(float(p95), 3),
        "p99_ms": round(float(p99), 3),
        "rows_per_second": round(rows / float(np.sum(seconds)), 1),
        "cores": os.cpu_count() or 1,
    }
