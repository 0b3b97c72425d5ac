"""Run the nodes of a Ray cluster on this machine until this program ends. `local.py` starts it."""

import atexit
import json
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from ray._private import ray_constants
from ray.cluster_utils import Cluster


def main(port: int, nodes: int, cpus: int, folder: str, ready: str, owner: int | None) -> None:
    """Run ``nodes`` of ``cpus`` cores each. Ray's logs and sockets are in ``folder``.

    The file ``ready`` is written when all nodes run. They end with the process ``owner``, if there is one.
    """
    # Registered first, so that it runs last. If the cluster never ran, the starting program reads the reason from its log.
    atexit.register(lambda: shutil.rmtree(folder, ignore_errors=True) if Path(ready).exists() else None)
    cluster = Cluster()  # its processes end with this one, even if this one is killed
    settings: dict[str, Any] = {
        "node_ip_address": "127.0.0.1",  # makes Ray listen only on loopback
        "num_cpus": cpus,
        "num_gpus": 0,
        "object_store_memory": 200_000_000,  # bytes for results; those that do not fit go to the folder
        "include_dashboard": False,
        "dashboard_agent_listen_port": 0,  # any free port: another cluster may use the default
        "temp_dir": folder,
    }
    # A killed node is detected after 5 seconds instead of 15: on one machine no network is slow.
    head: dict[str, Any] = {"gcs_server_port": port, "_system_config": {"health_check_period_ms": 1000}}
    running = [cluster.add_node(**settings, **({} if number else head)) for number in range(nodes)]
    raylets = [node.all_processes[ray_constants.PROCESS_TYPE_RAYLET][0].process.pid for node in running]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    partial = Path(ready).with_suffix(".partial")
    partial.write_text(json.dumps({"raylets": raylets}))
    partial.rename(ready)
    above = psutil.Process(owner) if owner else None
    while not running[0].dead_processes() and (above is None or above.is_running()):
        for node in running[1:]:
            node.dead_processes()  # reaps a killed one: its workers end only after that
        time.sleep(0.2)
    sys.exit("the cluster has ended: its first node is gone")


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
