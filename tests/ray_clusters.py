"""A Ray cluster of this machine for a file of tests: `stages.cluster`'s, on a free port and with its own folder."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from stages.cluster import local
from stages.cluster.local import Running

local.START, local.ATTEMPTS = 600.0, 10  # the machine may have other work to do


@contextmanager
def running(nodes: int = 2, cpus: int = 1) -> Iterator[Running]:
    """A cluster, which is gone when the block ends, or this process does."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder, "cluster.json")
        started = local.start(state, 0, nodes, cpus, owner=os.getpid())
        try:
            yield started
        finally:
            _kill(started.processes())  # Ray's own way, node after node, takes seconds
            local.end(started)


def kill(cluster: Running, number: int) -> None:
    """A node's processes, raylet and workers, by SIGKILL: as if its machine were gone. 0 is the head, and with it the cluster."""
    raylet = cluster.nodes()[number]
    assert raylet is not None, f"node {number} is gone already"
    _kill([raylet, *raylet.children(recursive=True)])


def workers(cluster: Running, name: str) -> list[psutil.Process]:
    """The cluster's processes with ``name`` in what Ray calls them, by the work that they do."""
    called = {one: one.as_dict(["cmdline"])["cmdline"] or [] for one in cluster.processes() if one.is_running()}
    return [one for one, words in called.items() if name in "".join(words)]


def _kill(processes: list[psutil.Process]) -> None:
    for one in processes:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(processes, timeout=60)
