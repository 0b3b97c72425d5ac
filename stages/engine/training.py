"""Train a project of torch where `engine.kind` says: in this process, on a Ray cluster, or as a job on SageMaker.

Ray and SageMaker's SDK are imported only where they are chosen.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from upath import UPath

from stages.common import clocks, config, files
from stages.common.program import requires
from stages.common.training import ensemble
from stages.common.training.checkpoints import Location
from stages.common.training_settings import TrainingSettings
from stages.engine.config import Engine

CLOCK = "training.json"
"""The file in which a training leaves its clock readings."""

Settings = TypeVar("Settings", bound=TrainingSettings)


def storage() -> Location:
    """Return the folder or URL for checkpoints. All processes of a training can reach it."""
    settings = config.load("engine", Engine)
    if settings.kind != "ray":
        return files.kept()
    # A local run must not resume from Ray's checkpoints: local runs give the same bytes each time.
    return UPath(settings.storage or files.kept()) / "ray"


def train(
    project: str,
    settings: Settings,
    fill: Callable[[Settings, list[Location], Path], None],
    checkpoints: Callable[[Settings, Location], list[Location]],
    features: Path,
    folder: Path,
) -> None:
    """Train a ``project`` of torch: replace ``folder`` with what ``fill`` writes, and store the clock readings in it.

    ``checkpoints`` returns the paths of the training's checkpoints below a folder or URL; they are deleted at the end. On
    a cluster each worker calls ``fill`` with its own folder, and the first worker's folder is used. Workers share batches
    (`distributed`) and have the folder ``features`` at the same path. A job on SageMaker finds ``fill`` and
    ``checkpoints`` in the project's train. Raises InputError.
    """
    files.require(features, f"featurize@{project}")
    kept = checkpoints(settings, storage())
    with files.new_folder(folder) as new:
        engine = config.load("engine", Engine)
        if engine.kind == "local":
            fill(settings, kept, new)
        elif engine.kind == "sagemaker":
            with requires("aws", "engine.kind = sagemaker"):
                from stages.engine.sagemaker import job

            job.train(project, engine.sagemaker, features, new)
        else:
            with requires("ray", "engine.kind = ray"):
                from stages.engine.ray import training

            shared = ensemble.batch_size(project, settings)
            training.train(partial(fill, settings, kept), new, features, shared, engine)
        clocks.keep(f"train@{project}", new, new / CLOCK)
    for checkpoint in kept:
        checkpoint.unlink(missing_ok=True)
