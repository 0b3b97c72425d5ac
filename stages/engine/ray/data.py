"""Work shared out over a Ray cluster by Ray Data: streamed, in order, done again where a worker is lost."""

import logging
import os
import pickle
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

# Ray would say of each worker that it could not be begun again if its arguments were lost: they are this process's.
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
import ray
import ray.data
from ray.exceptions import RayActorError

from stages.common.program import InputError
from stages.engine.config import Engine
from stages.engine.ray import cluster

Item = TypeVar("Item")
Result = TypeVar("Result")

WAITING = 2
"""Items that wait at each worker beside the one in work: Ray Data notices up to a tenth of a second late that one has ended."""

RETRIES, RESTARTS = 3, 10
"""How often one item may cost a worker its life, and how often a worker may lose it in all."""


def each(work: Callable[[Item], Result], items: Sequence[Item], settings: Engine) -> Iterator[Result]:
    """What ``work`` makes of each of the ``items``, in their order, `engine.workers` at a time.

    ``work`` runs in this working folder, or where `engine.storage` is set in any. Raises what program.run tells in one line
    as it was raised, and InputError for a cluster that is too small or loses a worker time and again.
    """
    folder = None if settings.storage else str(Path.cwd())
    with cluster.connected(settings):
        cluster.require(settings.model_copy(update={"gpus_per_worker": 0}))
        _quiet()
        rows = [{"item": pickle.dumps(item)} for item in items]
        made = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            _Worker,  # type: ignore[arg-type]  # they know of functions alone
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
            memory = "for want of memory" if "memory" in str(error) else "most likely for want of memory"
            raise InputError(
                f"engine: a worker was lost again and again, {memory}: use fewer workers on a node "
                "(a larger engine.cpus_per_worker), or larger nodes"
            ) from None


class _Worker:
    """Does ``work`` on one item after the other, in ``folder``. An error that its user can mend is a result, too: Ray would wrap it."""

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
        raise InputError(
            f"node {socket.gethostname()} has no folder {folder}: set engine.storage to a place that all nodes reach"
        ) from None


def _quiet() -> None:
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.memory_usage_poll_interval_s = None  # for a statistic, it would stop the work each second
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what it says of an error is in the error
