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
    """Where training keeps its checkpoints, so that all that take part in it reach them."""
    settings = config.load("engine", Engine)
    if settings.kind != "ray":
        return files.kept()
    return UPath(settings.storage or files.kept()) / "ray"  # not those of local runs, which end in the same bytes


def train(project: str, work: Callable[[Path], None], folder: Path, features: Path, batch_size: int) -> None:
    """Let ``work``, which can be pickled, fill ``folder`` with what it trains.

    On a cluster each worker calls it with a folder of its own, of which the first one's comes back. They share batches of
    ``batch_size`` (`distributed`), and find ``features``, a folder, under the same path. A job on SageMaker calls
    `fill` of the ``project``'s train instead. Raises InputError.
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
    """What ``work`` makes of each of the ``items``, in their order, several at a time; both have to be picklable."""
    settings = config.load("engine", Engine)
    if settings.kind != "ray":
        return _each_here(work, items)
    with requires("ray", RAY):
        from stages.engine.ray import data

    return data.each(work, items, settings)


@contextmanager
def shared(folder: Path, cores: int, count: str, **variables: str) -> Iterator[int | None]:
    """For a library that shares its work out through Ray by itself: how many cores of a cluster it may use together.

    None where there is no cluster, and all is to be done here. ``folder`` is what all nodes write to, so it has to lie on a
    disk that all of them mount; ``cores`` is what one piece of work takes, on one node. Environment ``variables`` are set
    here and on the nodes until the end, and one named ``count`` to the number of cores. Raises InputError, for a cluster's
    losses within, too.
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
    if workers == 1:  # another process would import all again
        yield from map(work, items)
        return
    context = get_context("forkserver")
    context.set_forkserver_preload([work.__module__])  # imported once, not by each process
    with chdir(Path(__file__).parents[2]):  # where it looks for that module
        forkserver.ensure_running()
    with ProcessPoolExecutor(workers, context) as pool:
        yield from pool.map(work, items)
