"""A Ray cluster to work on: the one at `engine.address`, or one of this machine alone for as long as the work lasts."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before Ray is imported: it would report itself
import ray

from stages.common.program import InputError
from stages.engine.config import Engine

ENVIRONMENT = ("DVC_ROOT", "OMP_NUM_THREADS", "TQDM_MININTERVAL")
"""What workers inherit of the variables set here."""


@contextmanager
def connected(settings: Engine) -> Iterator[None]:
    """Ray, with this project's code on every node. Raises InputError for a cluster that isn't there, isn't fit or is too small."""
    if settings.address:
        _reach(settings.address, settings.timeout)
    runtime = {
        "py_modules": [str(Path(__file__).parents[1])],  # the package `stages`
        "env_vars": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
    }
    own = {
        "num_cpus": settings.workers * settings.cpus_per_worker,
        "num_gpus": settings.workers * settings.gpus_per_worker,
        "include_dashboard": False,
        "_node_ip_address": "127.0.0.1",  # nothing here is for others
    }
    try:
        ray.init(
            settings.address or "local",  # without an address Ray would join any cluster of this machine
            runtime_env=runtime,
            log_to_driver=False,
            logging_level="ERROR",
            **({} if settings.address else own),
        )
    except RuntimeError as error:  # versions of Ray or Python that differ
        raise InputError(f"engine.address = {settings.address}: {error}") from None
    try:
        yield
    finally:
        ray.shutdown()


def _reach(address: str, timeout: int) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout).close()
    except OSError as error:
        raise InputError(
            f"engine.address = {address}: no Ray cluster there ({error}): start one (make cluster), or give its host:port"
        ) from None


def require(settings: Engine) -> None:
    """Placeholder."""
