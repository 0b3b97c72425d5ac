"""Run a stage's work where `engine.kind` says: in processes of this machine, on a Ray cluster, or as a job on SageMaker.

A stage passes and receives the same in all of them. Ray and SageMaker's SDK are imported only where they are chosen.
SageMaker trains the projects of torch; everything else runs on this machine then.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import chdir, contextmanager
from multiprocessing import forkserver, get_context
from pathlib import Path
from typing import TypeVar

from upath import UPath

from stages.common import config, files, program
from stages.common.program import requires
from stages.engine.config import Engine

RAY = "engine.kind = ray"
SAGEMAKER = "engine.kind = sagemaker"

Item = TypeVar("Item")
Result = TypeVar("Result")


def storage() -> Path | UPath:
    """Return the folder or URL for checkpoints. All processes of a training can reach it."""
    settings = config.load("engine", Engine)
    if settings.kind != "ray":
        return files.kept()
    # A local run must not resume from Ray's checkpoints: local runs give the same bytes each time.
    return UPath(settings.storage or files.kept()) / "ray"


def train(project: str, work: Callable[[Path], None], folder: Path, features: Path, batch_size: int) -> None:
    """Run ``work``, which must be picklable, to fill ``folder`` with the results of training.

    On a cluster each worker calls it with its own folder, and the first worker's folder is copied to ``folder``.
    Workers share batches of ``batch_size`` (`distributed`) and have the folder ``features`` at the same path. A job on
    SageMaker calls `fill` of the ``project``'s train instead. Raises InputError.
    """
    settings = config.load("engine", Engine)
    if settings.kind == "local":
        work(folder)
        return
    if settings.kind == "sagemaker":
        with requires("aws", SAGEMAKER):
            from stages.engine.sagemaker import job

        job.train(project, settings.sagemaker, features, folder)
        return
    with requires("ray", RAY):
        from stages.engine.ray import training

    training.train(work, folder, features, batch_size, settings)


def each(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Yield the result of ``work`` for each of ``items``, in their order, several at a time. Both must be picklable."""
    settings = config.load("engine", Engine)
    if settings.kind != "ray":
        return _each_here(work, items)
    with requires("ray", RAY):
        from stages.engine.ray import data

    return data.each(work, items, settings)


@contextmanager
def shared(folder: Path, cores: int, count: str, **variables: str) -> Iterator[int | None]:
    """Connect a library that uses Ray itself. Yields how many cores it may use in total, or None without a cluster.

    All nodes write to ``folder``, so it must be on a disk that all of them mount. One task uses ``cores`` cores of one
    node. Inside the block, the environment ``variables`` are set here and on the nodes, and the variable named
    ``count`` has the total number of cores. Raises InputError, also for failures of the cluster inside the block.
    """
    settings = config.load("engine", Engine)
    if settings.kind != "ray":
        if settings.kind == "sagemaker":
            print(f"{SAGEMAKER} trains the projects of torch: this one trains on this machine", flush=True)
        yield None
        return
    with requires("ray", RAY):
        from stages.engine.ray import libraries

    with libraries.shared(folder, cores, count, settings, variables) as together:
        yield together


def _each_here(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    workers = min(program.workers(), 16)
    if workers == 1:  # another process would import everything again
        yield from map(work, items)
        return
    context = get_context("forkserver")
    context.set_forkserver_preload([work.__module__])  # imported once instead of in each process
    with chdir(Path(__file__).parents[2]):  # the server looks for the module there
        forkserver.ensure_running()
    with ProcessPoolExecutor(workers, context) as pool:
        yield from pool.map(work, items)
