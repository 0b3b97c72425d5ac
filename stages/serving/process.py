"""Serve a model.tar.gz in a process of its own, which sees only the archive and the container's code."""

import os
import shutil
import socket
import ssl
import subprocess
import sys
import tarfile
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from stages.common import files, temporary
from stages.common.errors import InputError
from stages.common.models import bundle

CONTAINER = Path(__file__).with_name("container")
ENVIRONMENT = {
    # glibc keeps a batch's memory for the next one, as in training (`torch_setup`): new pages cost as much as a small network.
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    # Half of the cores: HTTP needs the others. Threads of one computation wait for the slowest at every layer. If one of two
    # cores has other work, two threads are ten times slower than one.
    "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 2)),
}
"""Environment variables of a model's process. The caller's own environment takes precedence."""


PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of a model's process, whose address is http: httpx would read all certificates, which takes longer than a request."""


@contextmanager
def unpacked(archive: Path, md5: str | None = None) -> Iterator[Path]:
    """Yield a folder of its own with the unpacked archive in `model` and the container's code in `container`.

    Raise InputError if the archive can't be unpacked, or if its MD5 is not ``md5``.
    """
    with temporary.folder("model") as folder:
        copy = folder / "model.tar.gz"  # the checked bytes are unpacked, even if the archive is replaced meanwhile
        try:
            shutil.copyfile(archive, copy)
            if md5 not in (None, files.digest(copy, "md5")):
                raise InputError(f"{archive} was changed after the server had checked it: restart the server")
            bundle.unpack(copy, folder / "model")
            copy.unlink()
            shutil.copytree(CONTAINER, folder / "container", ignore=shutil.ignore_patterns("__pycache__"))
        except (OSError, EOFError, tarfile.TarError, zlib.error, ValueError) as error:
            raise InputError(f"{archive} can't be unpacked: {str(error) or type(error).__name__}") from None
        yield folder


@contextmanager
def launched(
    folder: Path, start: float = 300.0, options: Sequence[str] = (), unwanted: threading.Event | None = None
) -> Iterator[str]:
    """Serve the model in a ``folder`` of `unpacked`. Yield the address when the model is loaded.

    ``start`` is the time limit for loading, in seconds. ``options`` are the container's. ``unwanted`` ends the wait for the
    model. The server listens only on loopback, on a port that the system picks. It ends with the block, and also if this
    process is killed. Its output goes to standard error. Raise InputError if it doesn't start.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # With -E and -s only the working folder and installed packages can be imported.
        python = [sys.executable, "-E", "-s", "-W", "ignore::FutureWarning"]
        server = subprocess.Popen(
            [*python, "-m", "container", "model", "--fd", str(listener.fileno()), *options],
            cwd=folder,
            env=ENVIRONMENT | os.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[listener.fileno()],
        )
        output = OutputCopier(server)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.close()  # only the server keeps it open: once the server is dead, connections are refused at once
        try:
            _wait(server, address, output, start, unwanted or threading.Event())
            yield address
        finally:
            assert server.stdin
            server.stdin.close()  # this ends the server
            try:
                server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
            output.join()


class OutputCopier(threading.Thread):
    """Copies the output of a process to standard error, and remembers its last line."""

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


def _wait(
    server: subprocess.Popen[bytes], address: str, output: OutputCopier, seconds: float, unwanted: threading.Event
) -> None:
    deadline = time.monotonic() + seconds
    with httpx.Client(timeout=1.0, trust_env=False, verify=PLAIN) as client:
        while time.monotonic() < deadline:
            if unwanted.is_set():
                raise InputError("the model is no longer served")
            if server.poll() is not None:
                output.join()
                raise InputError(f"the exported model's server stopped while it started: {output.last or 'no output'}")
            try:
                # The listening socket accepts at once. The response comes when the model is loaded.
                if client.get(f"{address}/ping").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
    raise InputError(f"the exported model's server did not answer within {seconds:.0f} s")


class ModelProcess:
    """The process of one archive, restarted after it has died. Any number of threads may call it.

    The archive is checked and unpacked once, or again if the unpacked folder is deleted: a restarted process has the same
    model, whatever has happened to the archive.
    """

    def __init__(self, archive: Path, md5: str | None = None, options: Sequence[str] = ()) -> None:
        self._archive, self._md5, self._options = archive, md5, options
        self._folder: Path | None = None
        self._kept, self._running = ExitStack(), ExitStack()
        self._address: str | None = None
        self._stopped = threading.Event()
        self._lock = threading.Lock()

    def start(self) -> str:
        """Start the process unless it runs. Return its address once the model is loaded. Raise InputError if that fails."""
        with self._lock:
            if self._stopped.is_set():
                raise InputError("the model is no longer served")
            if self._folder is not None and not self._folder.is_dir():  # a program that cleans up has deleted it
                self._folder = None
                self._kept.close()
            if self._folder is None:
                self._folder = self._kept.enter_context(unpacked(self._archive, self._md5))
            if self._address is None:
                started = launched(self._folder, options=self._options, unwanted=self._stopped)
                self._address = self._running.enter_context(started)
            return self._address

    def died(self, address: str) -> None:
        """Clean up after the dead process at ``address``. Do nothing if that was done, or if another one runs already."""
        with self._lock:
            if self._address == address:
                self._address = None
                self._running.close()

    def stop(self) -> None:
        """Stop the process. It can't be started again."""
        self._stopped.set()  # before taking the lock, which is held while the model is loaded
        with self._lock:
            self._address = self._folder = None
            self._running.close()
            self._kept.close()


@dataclass(frozen=True)
class Invocation:
    """The server's response, and the seconds that it took."""

    body: bytes
    seconds: float


class ServedModel:
    """The HTTP interface of a model that is served on this machine."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def invoke(self, body: bytes, content_type: str, accept: str = "application/json") -> Invocation:
        """Request predictions. Raise InputError with the server's message if it refuses."""
        begin = time.perf_counter()
        headers = {"Content-Type": content_type, "Accept": accept}
        response = self._client.post("/invocations", content=body, headers=headers)
        seconds = time.perf_counter() - begin
        if response.status_code != 200:
            raise InputError(f"the exported model answered HTTP {response.status_code}: {response.text[:500]}")
        return Invocation(response.content, seconds)


@contextmanager
def serve(archive: Path) -> Iterator[ServedModel]:
    """Serve the archive until the block ends. A request fails after a minute."""
    with (
        unpacked(archive) as folder,
        launched(folder) as address,
        httpx.Client(base_url=address, timeout=60, trust_env=False, verify=PLAIN) as client,
    ):
        yield ServedModel(client)


def latency(seconds: Sequence[float], rows: int) -> dict[str, float]:
    """Return percentiles of a request's time in milliseconds, and rows per second over all requests."""
    p50, p95, p99 = np.percentile(np.asarray(seconds) * 1000, [50, 95, 99])
    return {
        "p50_ms": round(float(p50), 3),
        "p95_ms": round(float(p95), 3),
        "p99_ms": round(float(p99), 3),
        "rows_per_second": round(rows / float(np.sum(seconds)), 1),
        "cores": os.cpu_count() or 1,
    }
