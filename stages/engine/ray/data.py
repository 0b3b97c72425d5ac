"""Distribute work over a Ray cluster with Ray's pool of actors: in order, repeated if a worker is lost."""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

# Ray would warn for each worker that it can't restart if its arguments are lost. They are in this process, so
# that can't happen.
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
import ray
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.util import ActorPool

from stages.common.errors import InputError
from stages.engine.config import Engine
from stages.engine.ray import cluster

Item = TypeVar("Item")
Result = TypeVar("Result")

QUEUED = 3
"""Items that each worker has, the current one among them, so that none waits for this process or for a slow item of another."""


def each(work: Callable[[Item], Result], items: Sequence[Item], settings: Engine) -> Iterator[Result]:
    """Yield the result of ``work`` for each of ``items``, in their order, `engine.workers` at a time.

    ``work`` runs in this working folder, or in any folder if `engine.storage` is set. Its InputError and OSError are
    raised here unchanged. Raises InputError if the cluster is too small or repeatedly loses a worker.
    """
    folder = None if settings.storage else str(Path.cwd())
    # A worker is restarted 10 times in total, and an item retried 3 times.
    worker = ray.remote(num_cpus=settings.cpus_per_worker, max_restarts=10, max_task_retries=3)(_Worker)
    with cluster.connected(settings):
        cluster.require(settings.model_copy(update={"gpus_per_worker": 0}))
        pool: Any = ActorPool([worker.remote(work, folder) for _ in range(settings.workers)] * QUEUED)
        try:
            for result in pool.map(lambda one, item: one.done.remote(item), items):
                if isinstance(result, InputError | OSError):
                    raise result
                yield result
        except (RayActorError, OutOfMemoryError) as error:
            memory = "out of memory" if "memory" in str(error) else "most likely out of memory"
            raise InputError(
                f"engine: a worker was lost repeatedly, {memory}: use fewer workers on a node "
                "(a larger engine.cpus_per_worker), or larger nodes"
            ) from None


class _Worker:
    """Applies ``work`` to one item after another, in ``folder``.

    Returns InputError and OSError as results, because Ray would wrap them in its own error.
    """

    def __init__(self, work: Callable[[Any], Any], folder: str | None) -> None:
        self.work, self.folder = work, folder

    def done(self, item: Any) -> Any:
        try:
            if self.folder:
                _enter(self.folder)
            return self.work(item)
        except (InputError, OSError) as error:
            return error


def _enter(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError:
        remedy = "set engine.storage to a folder or URL that all nodes can reach"
        raise InputError(f"node {socket.gethostname()} has no folder {folder}: {remedy}") from None
