"""Start, show or stop a Ray cluster of several nodes on this machine, for trying out stages.

The cluster listens only on 127.0.0.1 and keeps running after the command that starts it.
"""

import argparse

from stages.cluster import local
from stages.common.errors import InputError
from stages.common.program import run


def main(action: str, port: int, nodes: int, cpus: int) -> None:
    if nodes < 1 or cpus < 1:
        raise InputError(f"--nodes {nodes} --cpus {cpus} is not allowed: expected 1 or more")
    running = local.read(local.STATE)
    if action == "start":
        running = local.start(local.STATE, port, nodes, cpus)
        print(f"{nodes} nodes of {cpus} cores run at {running.address}")
        print(f"Next:    dvc exp run -S engine.kind=ray -S engine.address={running.address}")
        print("         make cluster STOP=1")
    elif running is None:
        print("no cluster is running")
    elif action == "stop":
        local.stop(local.STATE)
        print(f"stopped the cluster at {running.address}")
    else:
        alive = sum(node is not None for node in running.nodes())
        print(f"{alive} of {len(running.raylets)} nodes run at {running.address}")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", default="start", choices=["start", "status", "stop"])
    parser.add_argument("--port", type=int, default=6399, help="port of the cluster (%(default)s); 0: any free port")
    parser.add_argument("--nodes", type=int, default=2, help="number of nodes (%(default)s)")
    parser.add_argument("--cpus", type=int, default=1, help="cores per node, as Ray counts them (%(default)s)")


if __name__ == "__main__":
    run(main, arguments)
