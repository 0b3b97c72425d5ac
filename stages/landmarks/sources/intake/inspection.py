"""Decoding of every file in separate processes, several at a time. A file that kills its process is reported."""

import hashlib
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from tqdm import tqdm

from stages.common import program
from stages.common.sources import copies
from stages.common.sources.copies import Look
from stages.common.vision import images

R = TypeVar("R")

MAX_WORKERS = 8
"""Largest number of processes. Each decodes one picture at a time, which takes 14 bytes per pixel, 22 for WEBP."""

CHUNK = 8
"""Files that a worker gets at a time."""

KILLED = "the process that read it was killed: out of memory, or a bug in the decoder"


class Inspected(NamedTuple):
    """A readable file: width and height of the upright picture in pixels, size of the file in bytes.

    ``sha256`` is the hash of the shape (`HEIGHTxWIDTH`) followed by the RGB values of all pixels, row by row. So
    lossless files of the same picture have the same hash. ``look`` is that of `copies.look`.
    """

    width: int
    height: int
    bytes: int
    sha256: str
    look: Look


def inspect(file: Path, max_pixels: int) -> Inspected | str:
    """Return the picture in ``file``, or one sentence with the reason why it is refused."""
    try:
        pixels = images.read(file, max_pixels)
    except images.ImageError as error:
        return str(error)
    if images.is_plain(pixels):
        return "the picture has a single colour"
    height, width, _ = pixels.shape
    digest = hashlib.sha256(f"{height}x{width}".encode())
    digest.update(pixels.data)
    return Inspected(width, height, file.stat().st_size, digest.hexdigest(), copies.look(pixels))


def inspect_all(paths: Sequence[Path], max_pixels: int) -> list[Inspected | str]:
    """Return for each file, in order, the picture in it or the reason why it is refused."""
    return [picture or KILLED for picture in in_processes(partial(inspect, max_pixels=max_pixels), paths)]


def in_processes(function: Callable[[Path], R], paths: Sequence[Path]) -> list[R | None]:
    """Return ``function(path)`` for each path, in order, and None for a path that kills its process.

    Results should be small, because they are sent back to this process.
    """
    workers = min(program.workers(), MAX_WORKERS)
    results: list[R | None] = []
    with tqdm(total=len(paths), desc="landmarks: reading photographs", unit="file") as bar:
        while len(results) < len(paths):
            try:
                with _pool(workers) as pool:
                    for result in pool.map(function, paths[len(results) :], chunksize=CHUNK):
                        results.append(result)
                        bar.update()
            except BrokenProcessPool:  # the cause is probably one of the next files
                suspects = paths[len(results) : len(results) + 2 * CHUNK * workers]
                results += _one_by_one(function, suspects)
                bar.update(len(suspects))
    return results


def _one_by_one(function: Callable[[Path], R], paths: Sequence[Path]) -> list[R | None]:
    results: list[R | None] = []
    pool = _pool(1)
    for path in paths:
        try:
            results.append(pool.submit(function, path).result())
        except BrokenProcessPool:
            results.append(None)
            pool = _pool(1)
    pool.shutdown()
    return results


def _pool(workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("forkserver")  # a fork could copy a lock that a thread holds
    context.set_forkserver_preload(["__main__", __name__])
    return ProcessPoolExecutor(workers, context)
