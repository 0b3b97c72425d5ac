"""Every file is decoded once, in processes of its own: several at a time, and a file that kills one is named."""

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
from stages.common.vision.images import ImageError, decode

R = TypeVar("R")

MAX_BYTES = 512 * 2**20
"""Of a file: more than any photograph has. Larger ones, films for instance, are not read into memory."""

MAX_WORKERS = 8
"""Each holds one picture at a time, with what decoding takes: 14 bytes a pixel, 22 for WEBP."""

CHUNK = 8
"""Files that a worker is given at a time."""

KILLED = "the process that read it was killed: too little memory, or a defect of the decoder"


class Picture(NamedTuple):
    """A file that was read: pixels of the upright picture, bytes of the file.

    ``sha256`` is of the shape (`HEIGHTxWIDTH`) and then the RGB values of all pixels, row by row: the same picture in
    another lossless file has the same.
    """

    width: int
    height: int
    bytes: int
    sha256: str


def inspect(file: Path, max_pixels: int) -> Picture | str:
    """What is in ``file``, or one sentence on why it is refused."""
    try:
        if file.stat().st_size > MAX_BYTES:
            return f"the file has more than {MAX_BYTES >> 20} MiB"
        content = file.read_bytes()
        pixels = decode(content, max_pixels)
    except ImageError as error:
        return str(error)
    except OSError as error:
        return f"the file can't be read: {error.strerror}"
    height, width, _ = pixels.shape
    digest = hashlib.sha256(f"{height}x{width}".encode())
    digest.update(pixels.data)
    return Picture(width, height, len(content), digest.hexdigest())


def inspect_all(paths: Sequence[Path], max_pixels: int) -> list[Picture | str]:
    """What is in each file, in their order, or why it is refused."""
    found = in_processes(partial(inspect, max_pixels=max_pixels), paths)
    return [KILLED if picture is None else picture for picture in found]


def in_processes(function: Callable[[Path], R], paths: Sequence[Path]) -> list[R | None]:
    """``function`` of each path, in their order; None for a path that takes its process down with it.

    Paths go out and results come back, which should be small: the rest of the memory is what the workers hold.
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
            except BrokenProcessPool:  # most likely by one of the next few
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
    context = multiprocessing.get_context("forkserver")  # a fork of this process could copy a lock that a thread holds
    context.set_forkserver_preload(["__main__", __name__])
    return ProcessPoolExecutor(workers, context)
