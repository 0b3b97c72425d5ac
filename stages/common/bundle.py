"""model.tar.gz: what a trained model is shipped as, and a server to try it on.

The layout is that of SageMaker's PyTorch inference image: the model's files at the top, `code/inference.py` with
model_fn, input_fn, predict_fn and output_fn beside them.
"""

import gzip
import os
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray

from stages.common import files
from stages.common.program import InputError

SERVER = Path(__file__).with_name("container.py")
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
"""glibc keeps a batch's memory for the next one, as in training (`torch_setup`): fresh pages cost as much as a small network."""


def pack(archive: Path, members: Mapping[str, Path]) -> None:
    """Write ``members`` (name in the archive: file or folder) as a .tar.gz: the same contents, the same bytes."""
    with (
        files.new_file(archive) as partial,
        partial.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, source in sorted(members.items()):
            inner = sorted(source.rglob("*")) if source.is_dir() else [source]
            for path in inner:
                if path.is_file():
                    _add(tar, path, name if path == source else f"{name}/{path.relative_to(source).as_posix()}")


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = path.stat().st_size
    entry.mode = 0o644
    with path.open("rb") as file:
        tar.addfile(entry, file)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive that nobody vouches for: no path leaves ``folder``, no links out of it, no devices."""
    with tarfile.open(archive, "r:gz") as tar:
        tar.extractall(folder, filter="data")


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
def serve(archive: Path, start: float = 120.0, answer: float = 60.0) -> Iterator[Endpoint]:
    """The archive unpacked into an empty folder and served by a process that cannot import this project.

    ``start`` and ``answer`` are time limits in seconds. The server listens on loopback alone, on a port that the system
    picks, and is gone when the block ends, also when this process is killed.
    """
    with tempfile.TemporaryDirectory(prefix="deployed-") as empty, socket.create_server(("127.0.0.1", 0)) as listener:
        model, log = Path(empty, "model"), Path(empty, "log")
        unpack(archive, model)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        command = [sys.executable, "-I", str(SERVER), str(model), "--fd", str(listener.fileno())]
        with log.open("wb") as output:
            server = subprocess.Popen(
                command,
                cwd=empty,
                env=os.environ | KEEP_MEMORY,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[listener.fileno()],
            )
        listener.close()  # the server's alone: once that is dead, connections are refused and wait for nobody
        try:
            with httpx.Client(base_url=address, timeout=answer, trust_env=False) as client:
                _wait(server, client, log, start)
                yield Endpoint(client)
        finally:
            server.terminate()
            try:
                server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait(server: subprocess.Popen[bytes], client: httpx.Client, log: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.poll() is not None:
            last = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise InputError(f"the exported model's server ended at its start: {last[0] if last else 'no output'}")
        try:
            # The listening socket accepts at once; the answer comes when the model is loaded.
            if client.get("/ping", timeout=1.0).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise InputError(f"the exported model's server did not answer within {seconds:.0f} s")


def relative_difference(found: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each found value is from the expected one, relative to that; both have the same shape, values of at least 0."""
    return np.abs(found - expected) / np.maximum(expected, 1e-9)


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
