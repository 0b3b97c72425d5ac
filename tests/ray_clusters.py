"""A Ray cluster of this machine for a file of tests: `stages.cluster`'s, on a free port and with its own folder."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from stages.cluster import local
from stages.cluster.local import Running


@contextmanager
def running(nodes: int = 2, cpus: int = 1) -> Iterator[Running]:
    """A cluster, which is gone when the block ends, or this process does."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder, "cluster.json")
        started = local.start(state, 0, nodes, cpus, owner=os.getpid())
        try:
            yield started
        finally:
            local.end(started)


def kill(cluster: Running, number: int) -> None:
    """A node's processes, raylet and workers, by SIGKILL: as if its machine were gone. 0 is the head, and with it the cluster."""
    raylet = cluster.nodes()[number]
    assert raylet is not None, f"node {number} is gone already"
    processes = [raylet, *raylet.children(recursive=True)]
    for one in processes:
        one.kill()
    psutil.wait_procs(processes, timeout=10)
