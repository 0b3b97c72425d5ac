"""Run the nodes of a Ray cluster on this machine until this program ends. `local.py` starts it."""

import argparse
import atexit
import json
import shutil
import signal
import sys
import time
from pathlib import Path

import psutil
from ray._private import ray_constants
from ray.cluster_utils import Cluster

OBJECT_STORE = 200_000_000
"""Bytes of shared memory for results on each node. Results that do not fit go to its folder."""


HEALTH = {"health_check_period_ms": 1000}
"""Detect a killed node after 5 seconds instead of 15: on one machine no network is slow."""


def main(arguments: argparse.Namespace) -> None:
    atexit.register(remove, arguments.folder, arguments.ready)  # registered first, so that it runs last
    cluster = Cluster()  # its processes end with this one, even if this one is killed
    settings = {
        "node_ip_address": "127.0.0.1",  # makes Ray listen only on loopback
        "num_cpus": arguments.cpus,
        "num_gpus": 0,
        "object_store_memory": OBJECT_STORE,
        "include_dashboard": False,
        "dashboard_agent_listen_port": 0,  # any free port: another cluster may use the default
        "temp_dir": str(arguments.folder),
    }
    head = {"gcs_server_port": arguments.port, "_system_config": HEALTH}
    nodes = [cluster.add_node(**settings, **({} if number else head)) for number in range(arguments.nodes)]
    raylets = [node.all_processes[ray_constants.PROCESS_TYPE_RAYLET][0].process.pid for node in nodes]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    partial = arguments.ready.with_suffix(".partial")
    partial.write_text(json.dumps({"raylets": raylets}))
    partial.rename(arguments.ready)
    owner = psutil.Process(arguments.owner) if arguments.owner else None
    while not nodes[0].dead_processes() and (owner is None or owner.is_running()):
        for node in nodes[1:]:
            node.dead_processes()  # reaps a killed one: its workers end only after that
        time.sleep(0.2)
    sys.exit("the cluster has ended: its first node is gone")


def remove(folder: Path, ready: Path) -> None:
    """Remove the cluster's folder. Keep it if the cluster never ran: the starting program reads the reason from its log."""
    if ready.exists():
        shutil.rmtree(folder, ignore_errors=True)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--cpus", type=int, required=True, help="cores per node")
    parser.add_argument("--folder", type=Path, required=True, help="for Ray's logs and sockets")
    parser.add_argument("--ready", type=Path, required=True, help="file to write when all nodes run")
    parser.add_argument("--owner", type=int, help="end with this process")
    return parser.parse_args()


if __name__ == "__main__":
    main(parsed())
