"""Show the standard error of a cluster's first worker, mainly progress bars, on this machine as it is written."""

import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.queue import Empty, Queue

from stages.engine.ray import cluster


class Stream(io.TextIOBase):
    """A worker's replacement for `sys.stderr` that writes to the queue of `shown`."""

    encoding = "utf-8"

    def __init__(self, texts: Queue) -> None:
        self.queue: Any = texts.actor

    def write(self, text: str) -> int:
        self.queue.put_nowait.remote(text)  # without waiting for it
        return len(text)


@contextmanager
def shown() -> Iterator[Queue]:
    """Yield a queue on this node, and show its texts until the block ends or the queue is lost."""
    here = cluster.on(ray.get_runtime_context().get_node_id())
    texts = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    ended = threading.Event()

    def show() -> None:
        try:
            while not ended.is_set() or not texts.empty():
                with suppress(Empty):
                    sys.stderr.write(texts.get(timeout=0.5))
                    sys.stderr.flush()
        except RayError:  # the queue is lost, most likely out of memory: the work continues without progress bars
            return

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield texts
    finally:
        ended.set()
        thread.join(timeout=10)
