"""Run this project's server in a separate process for the duration of a benchmark."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import yaml
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from benchmarks import workspace
from stages.common import clocks

START = 400.0
"""Seconds after which all models must be ready."""


def record(folder: Path, project: str) -> None:
    """Write a dvc.lock to ``folder`` that records the project's export: the server serves only recorded exports."""
    path = f"models/{project}/export"
    out = {"path": path, "md5": clocks.digest(folder / path)}
    lock = {"schema": "2.0", "stages": {f"export@{project}": {"outs": [out]}}}
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock), encoding="utf-8")


@contextmanager
def started(
    folder: Path, options: Sequence[str] = (), server: Sequence[str] = ("-m", "stages.serving", "--port")
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run ``server``, whose next argument is a port, in ``folder``. Yields its URL and process at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    command = [*server, str(port), *options]
    with workspace.start(command, folder, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            yield f"http://127.0.0.1:{port}", process
        finally:
            os.killpg(process.pid, signal.SIGTERM)  # LitServe leaves its processes behind


@contextmanager
def running(folder: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Serve the exports in ``folder``. Yields the server's URL and process once it is ready."""
    with started(folder, options) as (address, process):
        wait(address)
        yield address, process


@retry(
    wait=wait_fixed(0.05), stop=stop_after_delay(START), retry=retry_if_exception_type(httpx.HTTPError), reraise=True
)
def wait(address: str, path: str = "/ping") -> None:
    """Wait until ``path`` returns status 200. Raises httpx.HTTPError after `START` seconds."""
    httpx.get(f"{address}{path}", trust_env=False).raise_for_status()
