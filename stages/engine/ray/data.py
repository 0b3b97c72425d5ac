"""Distribute work over a Ray cluster with Ray Data: streamed, in order, repeated if a worker is lost."""

import logging
import os
import pickle
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

# Ray would warn for each worker that it can't restart if its arguments are lost. They are in this process, so
# that can't happen.
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
import ray
import ray.data
from ray.exceptions import RayActorError

from stages.common.errors import InputError
from stages.engine.config import Engine
from stages.engine.ray import cluster

Item = TypeVar("Item")
Result = TypeVar("Result")

WAITING = 2
"""Queued items per worker, besides the current one: Ray Data may take 0.1 s to notice that an item is done."""

RETRIES, RESTARTS = 3, 10
"""How often an item is retried after its worker was lost, and how often a worker is restarted in total."""


def each(work: Callable[[Item], Result], items: Sequence[Item], settings: Engine) -> Iterator[Result]:
    """Yield the result of ``work`` for each of ``items``, in their order, `engine.workers` at a time.

    ``work`` runs in this working folder, or in any folder if `engine.storage` is set. Its InputError and OSError are
    raised here unchanged. Raises InputError if the cluster is too small or repeatedly loses a worker.
    """
    folder = None if settings.storage else str(Path.cwd())
    with cluster.connected(settings):
        cluster.require(settings.model_copy(update={"gpus_per_worker": 0}))
        _quiet()
        rows = [{"item": pickle.dumps(item)} for item in items]
        made = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            _Worker,  # type: ignore[arg-type]  # typed for functions only
            fn_constructor_args=(work, folder),
            compute=ray.data.ActorPoolStrategy(size=settings.workers, max_tasks_in_flight_per_actor=1 + WAITING),
            num_cpus=settings.cpus_per_worker,
            max_restarts=RESTARTS,
            max_task_retries=RETRIES,
        )
        try:
            for row in made.iter_rows():
                result = pickle.loads(row["result"])  # noqa: S301 (made by `_Worker`)
                if isinstance(result, InputError | OSError):
                    raise result
                yield result
        except RayActorError as error:
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

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        try:
            if self.folder:
                _enter(self.folder)
            result = self.work(pickle.loads(row["item"]))  # noqa: S301 (made by `each`)
        except (InputError, OSError) as error:
            result = error
        return {"result": pickle.dumps(result)}


def _enter(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError:
        remedy = "set engine.storage to a folder or URL that all nodes can reach"
        raise InputError(f"node {socket.gethostname()} has no folder {folder}: {remedy}") from None


def _quiet() -> None:
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.memory_usage_poll_interval_s = None  # it would interrupt the work each second, for a statistic
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # the raised error has the same content
