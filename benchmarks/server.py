"""This project's server in a process of its own, for as long as a benchmark lasts."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import yaml

from benchmarks import workspace
from stages.serving import exports

START = 120.0
"""Seconds until all models have to be ready."""


def record(folder: Path, project: str) -> None:
    """Write a dvc.lock to ``folder`` that has the project's export as it is there: the server serves nothing else."""
    path = f"models/{project}/export"
    out = {"path": path, "md5": f"{exports.version(folder / path)}.dir"}
    lock = {"schema": "2.0", "stages": {f"export@{project}": {"outs": [out]}}}
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock), encoding="utf-8")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def running(folder: Path, options: Sequence[str] = ("--no-page",)) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The address and the process of a server of the exports in ``folder``, when it is ready."""
    port = free_port()
    arguments = ["-m", "stages.serving", "--port", str(port), *options]
    with workspace.start(arguments, folder, stdout=subprocess.DEVNULL) as process:
        address = f"http://127.0.0.1:{port}"
        try:
            wait(address)
            yield address, process
        finally:
            process.terminate()


def wait(address: str, path: str = "/ping") -> None:
    """Until ``path`` is answered with 200. Raises TimeoutError."""
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{address}{path}", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise TimeoutError(f"{address}{path} was not answered within {START:g} s, process {os.getpid()}")
