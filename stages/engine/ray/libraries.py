"""Connect a cluster for a library that uses Ray itself."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import ray
from ray.exceptions import OutOfMemoryError, RayError

from stages.common.errors import InputError
from stages.engine.config import Engine
from stages.engine.ray import cluster


@contextmanager
def shared(folder: Path, cores: int, count: str, settings: Engine, variables: Mapping[str, str]) -> Iterator[int]:
    """Connect to the cluster and yield how many cores may be used in total. See `dispatch.shared`."""
    together = settings.workers * settings.cpus_per_worker
    variables = {count: str(together), **variables}
    if cores > settings.cpus_per_worker:
        found = f"engine.cpus_per_worker = {settings.cpus_per_worker}"
        raise InputError(f"{found} is too small for work that takes {cores} threads: set it to {cores}")
    with _environment(variables), cluster.connected(settings, **variables):
        cluster.require(settings)
        try:
            check_seen(folder, settings.timeout)
            yield together
        except OutOfMemoryError:
            remedy = "raise engine.cpus_per_worker, for fewer workers on a node"
            raise InputError(f"a worker ran out of memory: {remedy}") from None
        except RayError as error:
            raise InputError(f"the work on the cluster failed: {str(error).strip().splitlines()[-1]}") from error


def check_seen(folder: Path, timeout: int) -> None:
    """Raise InputError with the addresses of nodes that do not see ``folder``, or don't reply in ``timeout`` seconds."""
    asked = cluster.ask_nodes(Path.is_dir, folder.absolute())
    ready, _ = ray.wait([answer for _, answer in asked], num_returns=len(asked), timeout=timeout)
    blind = [node["NodeManagerAddress"] for node, answer in asked if answer not in ready or not ray.get(answer)]
    if blind:
        raise InputError(
            f"engine.address: nodes {', '.join(blind)} of the cluster do not see {folder.absolute()}: "
            "put the working folder on a disk that all of them mount at the same path"
        )


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ[name] for name in variables if name in os.environ}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]
        os.environ.update(before)
