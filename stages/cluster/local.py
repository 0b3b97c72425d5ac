"""Start a Ray cluster of several nodes on this machine, on loopback only, to try out work for many machines."""

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from stages.common import files
from stages.common.errors import InputError
from stages.engine.ray import scratch

STATE = Path(".dvc/tmp/cluster.json")
START = 120.0
"""Seconds that the nodes may take to start. They need about ten, unless the machine is busy."""

TOO_SLOW, ATTEMPTS = "node timed out during startup", 3
"""Ray's message for a node that takes more than 30 s to start, and the number of attempts.

On a busy machine a node also ends because its agent takes more than 15 s to start. Ray's settings allow neither to be longer.
"""


@dataclass(frozen=True)
class Running:
    """A cluster's processes. `pid` runs the nodes; `raylets` has one process per node, head first."""

    address: str
    pid: int
    created: float
    raylets: list[int]
    folder: str

    def keeper(self) -> psutil.Process | None:
        return next((one for one in self.processes() if one.pid == self.pid), None)

    def nodes(self) -> list[psutil.Process | None]:
        """Return each node's raylet, or None if it has ended. A node's workers are children of its raylet."""
        alive = {one.pid: one for one in self.processes()}
        return [alive.get(pid) for pid in self.raylets]

    def processes(self) -> list[psutil.Process]:
        """Return all running processes of the cluster: those of the session that `pid` started."""
        found = []
        for one in psutil.process_iter():
            with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                alive = os.getsid(one.pid) == self.pid and one.status() != psutil.STATUS_ZOMBIE
                # Another process may have its number by now.
                if alive and (one.pid != self.pid or abs(one.create_time() - self.created) < 1):
                    found.append(one)
        return found


def start(state: Path, port: int, nodes: int = 2, cpus: int = 1, owner: int | None = None) -> Running:
    """Start a cluster and write its address and processes to ``state``. Raises InputError if it does not start.

    Port 0 means any free port. The cluster outlives this process, but not the process ``owner``.
    """
    if known := read(state):
        raise InputError(f"a cluster is already running at {known.address}: stop it with make cluster STOP=1")
    port = _free(port)
    if importlib.util.find_spec("ray") is None:
        raise InputError("a Ray cluster needs the package ray, which is not installed: make env GROUPS=ray")
    for attempts_left in reversed(range(ATTEMPTS)):
        try:
            running = _started(port, nodes, cpus, owner)
            break
        except TimeoutError as error:
            if not attempts_left:
                raise InputError(_refusal(str(error))) from None
    files.write_json(state, asdict(running))
    return running


def _started(port: int, nodes: int, cpus: int, owner: int | None) -> Running:
    """Start a cluster. Raises TimeoutError if a node was too slow for Ray, InputError if it fails for another reason."""
    folder = scratch.new_folder()
    (folder / "ray").mkdir()  # Ray writes the cluster's address to $RAY_TMPDIR/ray, and does not create that folder
    ready, log = folder / "ready.json", folder / "start.log"
    asked = {"port": port, "nodes": nodes, "cpus": cpus, "folder": str(folder), "ready": str(ready), "owner": owner}
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", Path(__file__).with_name("nodes.py"), json.dumps(asked)],
            cwd=folder,  # not the checkout: nodes get the project's code with their work
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    running = Running(f"127.0.0.1:{port}", process.pid, psutil.Process(process.pid).create_time(), [], str(folder))
    try:
        _wait(process, ready, log)
        return replace(running, **files.read_json(ready))
    except BaseException:
        end(running)
        raise


def read(state: Path) -> Running | None:
    """Return the cluster in ``state`` if it is running. Remove the remains of a killed one."""
    if not state.exists():
        return None
    running = Running(**files.read_json(state))
    if running.keeper():
        return running
    stop(state)
    return None


def stop(state: Path) -> None:
    """End the processes of the cluster in ``state``, and no others."""
    end(Running(**files.read_json(state)))
    state.unlink()


def end(running: Running) -> None:
    """End a cluster's processes, and remove its folder."""
    if keeper := running.keeper():
        keeper.terminate()  # it stops its nodes one by one
        _until_gone(running.keeper)
    for one in running.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    _until_gone(running.processes)
    shutil.rmtree(running.folder, ignore_errors=True)


def _until_gone(left: Callable[[], object]) -> None:
    """Wait until ``left`` returns nothing, at most 15 seconds. Zombies do not count."""
    deadline = time.monotonic() + 15
    while left() and time.monotonic() < deadline:
        time.sleep(0.1)


def _wait(process: subprocess.Popen[bytes], ready: Path, log: Path) -> None:
    deadline = time.monotonic() + START
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            last = (log.read_text().strip().splitlines() or ["no reason in its log"])[-1]
            if TOO_SLOW in last:
                raise TimeoutError(last)
            raise InputError(_refusal(last))
        time.sleep(0.1)


def _refusal(reason: str) -> str:
    return f"the cluster did not start ({reason}): check that memory and processes are available, then try again"


def _free(port: int) -> int:
    try:
        with socket.create_server(("127.0.0.1", port)) as listener:
            return int(listener.getsockname()[1])
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise InputError(f"port {port} can't be used ({why}): choose another with make cluster PORT=...") from None


def _environment(folder: Path) -> dict[str, str]:
    """Return the environment without variables of other Ray clusters. Ray writes to ``folder`` instead of /tmp/ray."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**kept, "RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": str(folder)}
