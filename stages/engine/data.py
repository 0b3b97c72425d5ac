"""Work shared out over a Ray cluster by Ray Data: streamed, in order, done again where a worker is lost."""

import logging
import os
import pickle
import socket
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import ray
import ray.data
from ray.exceptions import NodeDiedError, OutOfMemoryError, WorkerCrashedError

from stages.common.program import InputError
from stages.engine import cluster
from stages.engine.config import Engine

Item = TypeVar("Item")
Result = TypeVar("Result")

PARTS = 16
"""Into how many tasks a worker's share of the items is divided: when several are under way, Ray Data notices up to a tenth of a
second late that one of them has ended, and its worker waits."""

RETRIES = 3
"""How often a task may cost a worker its life."""


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
        tasks = min(len(rows), settings.workers * PARTS)
        made = ray.data.from_items(rows, override_num_blocks=tasks).map(
            partial(_do, work, folder),
            num_cpus=settings.cpus_per_worker,
            concurrency=settings.workers,
            max_retries=RETRIES,
        )
        try:
            for row in made.iter_rows():
                result = pickle.loads(row["result"])  # noqa: S301 (made by `_do`)
                if isinstance(result, InputError | OSError):
                    raise result
                yield result
        except (WorkerCrashedError, OutOfMemoryError, NodeDiedError) as error:
            memory = "for want of memory" if isinstance(error, OutOfMemoryError) else "most likely for want of memory"
            raise InputError(
                f"engine: a worker was lost {RETRIES + 1} times at the same work, {memory}: use fewer workers on a node "
                "(a larger engine.cpus_per_worker), or larger nodes"
            ) from None


def _do(work: Callable[[Any], Any], folder: str | None, row: dict[str, bytes]) -> dict[str, bytes]:
    """``work`` on one item, in ``folder``. An error that its user can mend is a result, too: Ray would wrap it."""
    try:
        if folder:
            _enter(folder)
        result = work(pickle.loads(row["item"]))  # noqa: S301 (made by `each`)
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
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what it says of an error is in the error
