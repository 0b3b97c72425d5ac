"""Connect to the Ray cluster at `engine.address`, or start a temporary one on this machine."""

import logging
import os
import platform
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before Ray is imported: by default it sends usage reports
os.environ.setdefault("RAY_worker_niceness", "0")  # on this machine's own cluster, workers are the main work
# By default Ray retries tasks that ran out of memory forever.
os.environ.setdefault("RAY_task_oom_retries", "3")
import grpc
import ray
from ray._private import ray_constants
from ray._private.grpc_utils import init_grpc_channel
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc
from ray.util import placement_group, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import stages
from stages.common.errors import InputError
from stages.engine.config import Engine
from stages.engine.ray import scratch

SAME = "install the same on all nodes (requirements.txt)"


@contextmanager
def connected(settings: Engine, **variables: str) -> Iterator[None]:
    """Connect to Ray, with this project's code and the environment ``variables`` on every node.

    Raises InputError if there is no cluster or it can't be joined, or if this machine is too small for its own cluster.
    """
    addresses, folder = ["127.0.0.1"], None
    if settings.address:
        addresses = _find(settings.address, settings.timeout)
    else:
        _require_own(settings)
        folder = scratch.new_folder()
    # Ray replaces 127.0.0.1 by this machine's address in its network, and listens and searches there. It keeps
    # 127.0.0.1 only if clusters are disabled.
    ray_constants.ENABLE_RAY_CLUSTER = "127.0.0.1" not in addresses
    try:
        try:
            options = _options(settings, variables, folder)
            ray.init(settings.address or "local", log_to_driver=False, logging_level=logging.ERROR, **options)
        except (RuntimeError, ConnectionError, ValueError) as error:  # another Python, or this is not a node
            raise InputError(f"{_name(settings)}: {error}: {SAME}, and run this on one of them") from None
        yield
    finally:
        ray.shutdown()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def require(settings: Engine) -> None:
    """Raise InputError unless the connected cluster has room for all workers at once, and nodes have the same versions.

    Waits at most `timeout` seconds, in which an autoscaling cluster can grow.
    """
    if settings.address:
        _require_room(settings)
        _require_versions(settings)


def check(settings: Engine) -> None:
    """Raise InputError if a stage would find no cluster that fits ``settings``. Starts no cluster."""
    if settings.address:
        with connected(settings):
            require(settings)
    else:
        _require_own(settings)


def running_nodes() -> list[dict[str, Any]]:
    """Return Ray's description of each running node of the connected cluster."""
    return [node for node in ray.nodes() if node["Alive"]]


def on(node: str) -> NodeAffinitySchedulingStrategy:
    """Return the strategy that runs a task on the node with this identifier only."""
    return NodeAffinitySchedulingStrategy(node, soft=False)


def ask_nodes(question: Callable[..., object], *arguments: object) -> list[tuple[dict[str, Any], Any]]:
    """Call ``question`` on each running node. Returns the nodes with Ray's references to their answers."""
    asked, nodes = ray.remote(num_cpus=0)(question), running_nodes()
    return [(node, asked.options(scheduling_strategy=on(node["NodeID"])).remote(*arguments)) for node in nodes]


def _options(settings: Engine, variables: Mapping[str, str], folder: Path | None) -> dict[str, Any]:
    if settings.address:
        names = ("DVC_ROOT", "OMP_NUM_THREADS", "TQDM_MININTERVAL", stages.CHOICE, *stages.VARIABLES)
        sent = {name: os.environ[name] for name in names if name in os.environ} | dict(variables)
        code = str(Path(__file__).parents[2])  # the package `stages`
        return {"runtime_env": {"py_modules": [code], "env_vars": sent}}
    # Ray's processes are children of this one: they inherit the environment and find the same code.
    return {
        "num_cpus": settings.workers * settings.cpus_per_worker,
        "num_gpus": settings.workers * settings.gpus_per_worker,
        "include_dashboard": False,
        "_temp_dir": str(folder),  # the default is /tmp/ray, where logs of all clusters would pile up
    }


def _name(settings: Engine) -> str:
    return f"engine.address = {settings.address or 'null'}"


def _find(address: str, timeout: int) -> list[str]:
    """Return the nodes' addresses from the head at ``address``. Raises InputError if its version of Ray differs."""
    name = f"engine.address = {address}"
    with init_grpc_channel(address) as channel:
        messages: Any = gcs_service_pb2  # generated from .proto, without types
        head = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
        try:
            version = head.CheckAlive(messages.CheckAliveRequest(), timeout=timeout).ray_version
            if version != ray.__version__:
                raise InputError(f"{name}: Ray is {version} there and {ray.__version__} here: {SAME}")
            nodes = head.GetAllNodeInfo(messages.GetAllNodeInfoRequest(), timeout=timeout).node_info_list
        except grpc.RpcError as error:
            why = f"no answer within engine.timeout = {timeout} seconds"
            if error.code() != grpc.StatusCode.DEADLINE_EXCEEDED:
                why = error.details().rpartition("last error: ")[2]
            remedy = "start one (make cluster), or give its host:port"
            raise InputError(f"{name}: no Ray cluster there ({why}): {remedy}") from None
    return [node.node_manager_address for node in nodes]


def _require_own(settings: Engine) -> None:
    """Raise InputError if this machine lacks the requested cores or GPUs: Ray does not check."""
    cores, gpus, has_gpus = settings.workers * settings.cpus_per_worker, settings.workers * settings.gpus_per_worker, 0
    if gpus:
        import torch

        has_gpus = torch.cuda.device_count()
    for what, number, has in (("cores", cores, len(os.sched_getaffinity(0))), ("GPUs", gpus, has_gpus)):
        if number > has:
            raise InputError(
                f"{_asked(settings)} need {number} {what}, this machine has {has}: request less, "
                "or set engine.address to a cluster"
            )


def _require_versions(settings: Engine) -> None:
    def versions() -> dict[str, str]:  # local, so that nodes run it even if they can't import this project's code
        from importlib import metadata

        found = {one.name: one.version for one in metadata.distributions() if one.name in packages}
        return found | {"python": platform.python_version()}

    packages = ("ray", "torch")  # nodes exchange models, gradients and functions
    here = {"python": platform.python_version()} | {name: metadata.version(name) for name in packages}
    for node, answer in ask_nodes(versions):
        name = f"{_name(settings)}: node {node['NodeManagerAddress']}"
        try:
            there = ray.get(answer, timeout=settings.timeout)
        except ray.exceptions.GetTimeoutError:
            limit = f"engine.timeout = {settings.timeout} seconds"
            raise InputError(f"{name} did not answer within {limit}: see its logs") from None
        except ray.exceptions.RuntimeEnvSetupError as error:
            raise InputError(f"{name} could not load this project's code: {error}") from None
        except ray.exceptions.TaskUnschedulableError:
            continue  # the node has left the cluster
        for what, version in here.items():
            if there.get(what) != version:
                found = f"{what} {there.get(what, '(none)')}, this machine {version}"
                raise InputError(f"{name} has {found}: {SAME}")


def _require_room(settings: Engine) -> None:
    needs = {"CPU": float(settings.cpus_per_worker), "GPU": float(settings.gpus_per_worker)}
    group = placement_group([{name: size for name, size in needs.items() if size}] * settings.workers)
    try:
        if group.wait(settings.timeout):
            return
    finally:
        remove_placement_group(group)
    nodes = [node["Resources"] for node in running_nodes()]
    kinds = Counter(f"a node of {node.get('CPU', 0):g} cores and {node.get('GPU', 0):g} GPUs" for node in nodes)
    free = ray.available_resources()
    room = sum(int(min(node.get(name, 0) // size for name, size in needs.items() if size)) for node in nodes)
    remedy = "try again when there is room" if room >= settings.workers else "request less, or add nodes"
    raise InputError(
        f"{_asked(settings)} found no room within engine.timeout = {settings.timeout} seconds: {settings.address} has "
        f"{', '.join(f'{number} x {kind}' for kind, number in kinds.items())}, with room for {room} workers, and "
        f"{free.get('CPU', 0):g} cores and {free.get('GPU', 0):g} GPUs free: {remedy}"
    )


def _asked(settings: Engine) -> str:
    return f"engine.workers = {settings.workers} of {settings.cpus_per_worker} cores and {settings.gpus_per_worker} GPUs each"
