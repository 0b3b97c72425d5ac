"""Train with Ray Train. The workers form one process group; lost ones are replaced, or training continues without them.

After each epoch the first worker writes a checkpoint to the storage (`stages.common.training.checkpoints`). If a worker or a
node is lost, all workers restart from it, as many as there is room for. At the end the first worker's result is copied
back.
"""

import os
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")  # before Ray is imported
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "1")  # longest delay in noticing the end
import pyarrow.fs
import ray.train
from ray.exceptions import OutOfMemoryError, RayError
from ray.train import TrainingFailedError
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.util.queue import Queue
from upath import UPath

from stages.common import files
from stages.common.errors import InputError
from stages.common.training import distributed
from stages.engine.config import Engine
from stages.engine.ray import cluster, progress, transfer

Work = Callable[[Path], None]

FAILURES = 5
"""How many times a training may lose workers or nodes."""

RESULT, REFUSAL = "result", "error.txt"


class _Losses(ray.train.UserCallback):
    """Reports lost workers."""

    def __init__(self, texts: Queue) -> None:
        self.texts = texts

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        ranks = ", ".join(str(rank) for rank in sorted(worker_exceptions))
        progress.Stream(self.texts).write(f"\nworker {ranks} was lost: all workers restart from the last checkpoint\n")


class _Trainer(TorchTrainer):
    """Ray's trainer without two of its callbacks, which delay each training.

    The guard of the placement group takes 12 seconds at the end. It matters only if the controller dies before the
    driver: when the driver ends, Ray frees the resources itself. The process for Ray's own data sets is not needed.
    """

    def _create_default_callbacks(self) -> list[Any]:
        callbacks: list[Any] = super()._create_default_callbacks()  # type: ignore[misc]  # V1's class
        return [one for one in callbacks if not isinstance(one, PlacementGroupCleanerCallback | DatasetsCallback)]


def _worker(work: Work, batch_size: int, results: UPath, settle: Callable[[], None], texts: Queue) -> None:
    """Run one worker of a training. ``results`` is the folder or URL for the result or the error."""
    if (results / REFUSAL).exists():  # restarted after an error that a restart can't fix
        return
    try:
        settle()
    except InputError as error:  # only this node knows it: the others read it after the restart
        (results / REFUSAL).write_text(str(error))
        raise
    with distributed.group(batch_size) as taking_part, tempfile.TemporaryDirectory() as scratch:
        if not taking_part:
            return
        if distributed.rank() == 0:
            sys.stderr = progress.Stream(texts)
        try:
            work(Path(scratch))
        except InputError as error:  # all workers have the same error, and none is restarted
            (results / REFUSAL).write_text(str(error))
            return
        if distributed.rank() == 0:
            transfer.copy(UPath(scratch), results / RESULT)


def train(work: Work, folder: Path, features: Path, batch_size: int, settings: Engine) -> None:
    """Run ``work`` in workers of the cluster. ``folder`` gets the first worker's files. Raises InputError."""
    if distributed.sharers(batch_size, settings.workers) < settings.workers:
        raise InputError(
            f"engine.workers = {settings.workers} can't share batches of {batch_size}: expected a number that divides it, "
            "with at least two images per worker; change it or batch_size"
        )
    root = UPath(settings.storage or files.kept()).absolute()
    results = root / "runs" / uuid.uuid4().hex
    results.mkdir(parents=True, exist_ok=True)
    try:
        with cluster.connected(settings):
            cluster.require(settings)
            settle = transfer.send(features, settings.storage)
            with progress.shown() as texts:
                given = {"work": transfer.importable(work), "batch_size": batch_size, "settle": settle}
                _fit(settings, results, texts, given)
        if (results / REFUSAL).exists():
            raise InputError((results / REFUSAL).read_text())
        transfer.copy(results / RESULT, UPath(folder))
    except (TrainingFailedError, RayError) as error:
        raise InputError(_reason(error)) from error
    finally:
        results.fs.rm(results.path, recursive=True)


def _fit(settings: Engine, results: UPath, texts: Queue, given: dict[str, Any]) -> None:
    if not settings.address:  # this machine is not preempted: skip the process that watches for it
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    resources = {"CPU": settings.cpus_per_worker, "GPU": settings.gpus_per_worker}
    _Trainer(
        lambda config: _worker(**config),
        train_loop_config={**given, "results": results, "texts": texts},
        torch_config=TorchConfig(backend="nccl" if settings.gpus_per_worker else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=(1, settings.workers) if settings.workers > 1 else 1,  # type: ignore[arg-type]  # V1's signature
            use_gpu=settings.gpus_per_worker > 0,
            resources_per_worker={name: count for name, count in resources.items() if count},
        ),
        run_config=ray.train.RunConfig(
            name=results.name,
            storage_path=results.parent.path,
            storage_filesystem=pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(results.fs)),  # type: ignore[attr-defined, no-untyped-call]
            callbacks=[_Losses(texts)],  # type: ignore[list-item]  # V1's class
            failure_config=ray.train.FailureConfig(max_failures=FAILURES),
        ),
    ).fit()


def _reason(error: Exception) -> str:
    """Return the reason why a training failed, in one line."""
    workers = list(getattr(error, "worker_failures", {}).values())
    failures = workers or [error]
    if any(isinstance(one, OutOfMemoryError) or "OutOfMemory" in repr(one) for one in failures):
        return (
            "a worker ran out of memory: lower batch_size, raise engine.cpus_per_worker (fewer workers on a node), or use larger nodes;"
            " the same command resumes from the last checkpoint"
        )
    last = (str(failures[0]).strip().splitlines() or [repr(failures[0])])[-1]
    if not workers:
        return f"the training's controller was lost ({last}): the same command resumes from the last checkpoint"
    return f"training failed {FAILURES + 1} times, the last time with: {last}"
