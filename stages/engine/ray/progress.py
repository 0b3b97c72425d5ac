"""What a cluster's first worker writes to its standard error, progress bars above all, shown on this machine's as it comes."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

INTERVAL = 0.5
"""Seconds between two looks."""


class Board:
    """Holds texts until they are read."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def write(self, text: str) -> None:
        self.texts.append(text)

    def read(self) -> str:
        texts, self.texts = self.texts, []
        return "".join(texts)


class Stream:
    """What `sys.stderr` of a worker is, for a board to get it."""

    encoding = "utf-8"

    def __init__(self, board: Any) -> None:
        self.board = board

    def write(self, text: str) -> int:
        self.board.write.remote(text)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        return False


@contextmanager
def shown() -> Iterator[Any]:
    """A board on this node, whose texts are shown as long as the block and the board last."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    board: Any = ray.remote(num_cpus=0)(Board).options(scheduling_strategy=here).remote()
    ended = threading.Event()

    def show() -> None:
        done = False
        while not done:
            done = ended.wait(INTERVAL)
            try:
                sys.stderr.write(ray.get(board.read.remote()))
            except RayError:  # lost, for want of memory most likely: the work goes on unseen
                return
            sys.stderr.flush()

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield board
    finally:
        ended.set()
        thread.join(timeout=10)
