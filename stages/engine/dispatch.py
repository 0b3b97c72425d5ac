"""Run a stage's work where `engine.kind` says: in processes of this machine, or on a Ray cluster.

A stage passes and receives the same in both. Ray is imported only if it is chosen. With `sagemaker`, only trainings with
torch run as jobs (`training`); everything else runs on this machine.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import chdir, contextmanager
from multiprocessing import forkserver, get_context
from pathlib import Path
from typing import TypeVar

from stages.common import config, program
from stages.common.program import requires
from stages.engine.config import Engine

RAY = "engine.kind = ray"

Item = TypeVar("Item")
Result = TypeVar("Result")


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
            print("engine.kind = sagemaker trains only projects of torch: this one trains on this machine", flush=True)
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
