"""Training through Ray Train: the workers are one process group, and lost ones are replaced, or done without.

After each epoch the first worker keeps a checkpoint in the storage (`stages.common.training.loop.checkpoints`); when a worker or a node is
lost, all begin again from it, with as many workers as there is room for. At the end the first worker's result comes back.
"""

import os
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")  # before it is imported
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "1")  # the end is noticed so late at most
import pyarrow.fs
import ray.train
from ray.exceptions import OutOfMemoryError, RayError
from ray.train import TrainingFailedError
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from upath import UPath

from stages.common import files
from stages.common.program import InputError
from stages.common.training import distributed
from stages.engine.config import Engine
from stages.engine.ray import cluster, progress, transfer
from stages.engine.ray.transfer import Sent

Work = Callable[[Path], None]

FAILURES = 5
"""How often workers or nodes may be lost in one training."""

RESULT, REFUSAL = "result", "error.txt"


class _Losses(ray.train.UserCallback):
    """Tells of workers that were lost."""

    def __init__(self, board: Any) -> None:
        self.board = board

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        ranks = ", ".join(str(rank) for rank in sorted(worker_exceptions))
        self.board.write.remote(f"\nworker {ranks} was lost: all begin again from the last checkpoint\n")


class _Trainer(TorchTrainer):
    """Ray's, less two of its helpers that each training would wait for.

    A guard over its placement group takes 12 seconds at the end, and serves where a controller dies before its driver: when the
    driver ends, Ray gives the places back by itself. A process for Ray's own data sets has nothing to do here.
    """

    def _create_default_callbacks(self) -> list[Any]:
        callbacks: list[Any] = super()._create_default_callbacks()  # type: ignore[misc]  # V1's class
        return [one for one in callbacks if not isinstance(one, PlacementGroupCleanerCallback | DatasetsCallback)]


class Setup(NamedTuple):
    """What all workers of a training are told."""

    work: Work
    batch_size: int
    place: UPath  # for what comes back
    sent: Sent
    board: Any  # progress.Board


def _worker(told: dict[str, Setup]) -> None:
    """What each worker does."""
    setup = told["setup"]
    place = setup.place
    if (place / REFUSAL).exists():  # begun again after an error that beginning again doesn't mend
        return
    try:
        transfer.settle(setup.sent)
    except InputError as error:  # of this node alone: the others learn it by being begun again
        (place / REFUSAL).write_text(str(error))
        raise
    with distributed.group(setup.batch_size) as taking_part, tempfile.TemporaryDirectory() as scratch:
        if not taking_part:
            return
        if distributed.rank() == 0:
            sys.stderr = progress.Stream(setup.board)
        try:
            setup.work(Path(scratch))
        except InputError as error:  # all have the same, and none is begun again
            (place / REFUSAL).write_text(str(error))
            return
        if distributed.rank() == 0:
            transfer.copy(UPath(scratch), place / RESULT)


def train(work: Work, folder: Path, features: Path, batch_size: int, settings: Engine) -> None:
    """Let workers of the cluster do ``work`` together; ``folder`` gets what the first one has written. Raises InputError."""
    if distributed.sharers(batch_size, settings.workers) < settings.workers:
        raise InputError(
            f"engine.workers = {settings.workers} can't share batches of {batch_size}: expected a number that divides it, "
            "two images for each at least; change it or batch_size"
        )
    root = UPath(settings.storage or files.kept()).absolute()
    place = root / "runs" / uuid.uuid4().hex
    place.mkdir(parents=True, exist_ok=True)
    try:
        with cluster.connected(settings):
            cluster.require(settings)
            sent = transfer.send(features, settings.storage)
            with progress.shown() as board:
                _fit(Setup(transfer.importable(work), batch_size, place, sent, board), settings)
        if (place / REFUSAL).exists():
            raise InputError((place / REFUSAL).read_text())
        transfer.copy(place / RESULT, UPath(folder))
    except (TrainingFailedError, RayError) as error:
        raise InputError(_reason(error)) from error
    finally:
        place.fs.rm(place.path, recursive=True)


def _fit(setup: Setup, settings: Engine) -> None:
    if not settings.address:  # nobody takes this machine away with notice: no process that waits for one
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    resources = {"CPU": settings.cpus_per_worker, "GPU": settings.gpus_per_worker}
    _Trainer(
        _worker,
        train_loop_config={"setup": setup},
        torch_config=TorchConfig(backend="nccl" if settings.gpus_per_worker else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=(1, settings.workers) if settings.workers > 1 else 1,  # type: ignore[arg-type]  # V1's signature
            use_gpu=settings.gpus_per_worker > 0,
            resources_per_worker={name: count for name, count in resources.items() if count},
        ),
        run_config=ray.train.RunConfig(
            name=setup.place.name,
            storage_path=setup.place.parent.path,
            storage_filesystem=pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(setup.place.fs)),  # type: ignore[attr-defined, no-untyped-call]
            callbacks=[_Losses(setup.board)],  # type: ignore[list-item]  # V1's class
            failure_config=ray.train.FailureConfig(max_failures=FAILURES),
        ),
    ).fit()


def _reason(error: Exception) -> str:
    """One line for what ended a training."""
    workers = list(getattr(error, "worker_failures", {}).values())
    failures = workers or [error]
    if any(isinstance(one, OutOfMemoryError) or "OutOfMemory" in repr(one) for one in failures):
        return (
            "memory ran out where a worker was: lower batch_size, or give it a larger node (engine.cpus_per_worker takes more of one);"
            " the same command goes on from the last checkpoint"
        )
    last = (str(failures[0]).strip().splitlines() or [repr(failures[0])])[-1]
    if not workers:
        return f"what watches over the training was lost ({last}): the same command goes on from the last checkpoint"
    return f"training was lost {FAILURES + 1} times, the last time with: {last}"
