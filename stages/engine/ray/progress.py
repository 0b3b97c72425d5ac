"""Show the standard error of a cluster's first worker, mainly progress bars, on this machine as it is written."""

import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError

from stages.engine.ray import cluster

INTERVAL = 0.5
"""Seconds between two reads."""


class Board:
    """Stores texts until they are read."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def write(self, text: str) -> None:
        self.texts.append(text)

    def read(self) -> str:
        texts, self.texts = self.texts, []
        return "".join(texts)


class Stream(io.TextIOBase):
    """A worker's replacement for `sys.stderr` that writes to a board."""

    encoding = "utf-8"

    def __init__(self, board: Any) -> None:
        self.board = board

    def write(self, text: str) -> int:
        self.board.write.remote(text)
        return len(text)


@contextmanager
def shown() -> Iterator[Any]:
    """Yield a board on this node, and show its texts until the block ends or the board is lost."""
    here = cluster.on(ray.get_runtime_context().get_node_id())
    board: Any = ray.remote(num_cpus=0)(Board).options(scheduling_strategy=here).remote()
    ended = threading.Event()

    def show() -> None:
        done = False
        while not done:
            done = ended.wait(INTERVAL)
            try:
                sys.stderr.write(ray.get(board.read.remote()))
            except RayError:  # the board is lost, most likely out of memory: the work continues without progress bars
                return
            sys.stderr.flush()

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield board
    finally:
        ended.set()
        thread.join(timeout=10)
