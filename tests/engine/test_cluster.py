"""A Ray cluster on this machine, and the errors of connecting to one: started, used, broken and stopped for real."""

import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import psutil
import pytest
import ray
from conftest import ROOT, Change, Run
from model_servers import until
from ray_clusters import kill

from stages import check
from stages.cluster import local
from stages.cluster.local import Running
from stages.common import config, files
from stages.common.errors import InputError
from stages.engine.config import Engine
from stages.engine.ray import cluster as engine
from stages.engine.ray.libraries import check_seen


@pytest.fixture
def settings(workspace: Path, cluster: Running) -> Engine:
    """The engine of params.yaml, with the cluster's address."""
    settings = config.load("engine", Engine)
    return settings.model_copy(update={"kind": "ray", "address": cluster.address, "timeout": 120})


def refusal(settings: Engine, **changes: object) -> str:
    """Why ``settings`` with ``changes`` don't get a cluster."""
    with pytest.raises(InputError) as raised, engine.connected(settings.model_copy(update=changes)):
        engine.require(settings.model_copy(update=changes))
    assert not ray.is_initialized()
    return str(raised.value)


def test_work_runs_on_both_nodes_with_this_projects_code(settings: Engine) -> None:
    def where() -> tuple[str, str]:
        import stages

        return ray.get_runtime_context().get_node_id(), str(stages.__file__)

    with engine.connected(settings):
        engine.require(settings)
        task = ray.remote(num_cpus=1, scheduling_strategy="SPREAD")(where)
        answers = ray.get([task.remote() for _ in range(4)])
        assert {node for node, _ in answers} == {node["NodeID"] for node in ray.nodes()}
    assert not any(Path(file).is_relative_to(ROOT) for _, file in answers)


def test_a_cluster_listens_only_on_loopback(cluster: Running) -> None:
    listening = []
    for process in cluster.processes():
        with suppress(psutil.NoSuchProcess):  # one that has just ended
            open_ones = [one for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
            listening += [one.laddr.ip.removeprefix("::ffff:") for one in open_ones]
    assert listening
    assert set(listening) <= {"127.0.0.1", "::1"}


def test_too_few_cores_are_reported_with_the_available_ones(settings: Engine) -> None:
    said = refusal(settings, workers=4, timeout=1)
    assert "engine.workers = 4 of 1 cores and 0 GPUs each found no room within engine.timeout = 1 seconds" in said
    has = "2 x a node of 1 cores and 0 GPUs, with room for 2 workers, and 2 cores and 0 GPUs free"
    assert f"{has}: request less" in said
    assert "with room for 0 workers" in refusal(settings, workers=1, cpus_per_worker=2, timeout=1)
    assert "of 1 cores and 1 GPUs each" in refusal(settings, workers=1, gpus_per_worker=1, timeout=1)


def test_a_sweep_whose_trials_do_not_fit_is_refused_with_the_available_resources(
    settings: Engine, cluster: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.experiments.sweeps import asha

    with engine.connected(settings):
        assert asha.room_on_cluster(settings, {"cpu": 1, "gpu": 0}) == len(cluster.raylets)
        with pytest.raises(InputError, match=r"a trial needs 9 CPU, and no node has that \(127.0.0.1: 1 CPU, 0 GPU; "):
            asha.room_on_cluster(settings, {"cpu": 9, "gpu": 0})
        monkeypatch.chdir(ROOT)
        check_seen(Path("docs"), settings.timeout)  # below this process's working folder, which is no node's


def test_slots_in_use_are_waited_for(settings: Engine, cluster: Running) -> None:
    other = f"""
import ray, time
from ray._private import ray_constants
ray_constants.ENABLE_RAY_CLUSTER = False
ray.init("{cluster.address}", logging_level="ERROR")
group = ray.util.placement_group([{{"CPU": 1}}])
ray.get(group.ready())
print("has it", flush=True)
input()
"""
    command = [sys.executable, "-c", other]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as user:
        assert user.stdout
        assert user.stdin
        assert user.stdout.readline() == "has it\n"
        assert "1 cores and 0 GPUs free: try again when there is room" in refusal(settings, timeout=1)
        with engine.connected(settings):
            user.stdin.close()
            engine.require(settings)


def test_other_versions_are_named(settings: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "__version__", "2.0.0")
    assert f"Ray is {metadata.version('ray')} there and 2.0.0 here" in refusal(settings)
    monkeypatch.undo()
    monkeypatch.setattr(metadata, "version", lambda name: "1.0.0" if name == "torch" else ray.__version__)
    said = refusal(settings)
    assert "node 127.0.0.1 has torch 2." in said
    assert ", this machine 1.0.0: install the same on all nodes (requirements.txt)" in said
    monkeypatch.undo()
    monkeypatch.setattr("ray._private.utils.compute_version_info", lambda: (ray.__version__, "3.99.0"))
    said = refusal(settings)
    assert "Python: 3.99.0" in said
    assert "install the same on all nodes" in said


@pytest.fixture
def mute() -> Iterator[str]:
    """The address of something that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_missing_cluster_is_reported_at_once_or_within_the_timeout(settings: Engine, mute: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = f"127.0.0.1:{listener.getsockname()[1]}"
    assert refusal(settings, address=nobody).startswith(f"engine.address = {nobody}: no Ray cluster there (")
    assert "no answer within engine.timeout = 1 seconds" in refusal(settings, address=mute, timeout=1)
    assert "no Ray cluster there" in refusal(settings, address="nosuchhost.invalid:6379")


def test_more_than_this_machine_has_is_refused(settings: Engine) -> None:
    said = refusal(settings, address=None, workers=1000)
    assert said.startswith("engine.workers = 1000 of 1 cores and 0 GPUs each need 1000 cores, this machine has ")
    assert "GPUs, this machine has " in refusal(settings, address=None, workers=1, gpus_per_worker=64)


def test_check_reports_a_missing_cluster_and_keeps_existing_results(change: Change, cluster: Running) -> None:
    check.OUTPUT.parent.mkdir()
    check.OUTPUT.write_text("what was there")
    change({"engine.kind": "ray", "engine.address": cluster.address, "engine.workers": 3, "engine.timeout": 1})
    with pytest.raises(InputError, match="with room for 2 workers"):
        check.main()
    assert check.OUTPUT.read_text() == "what was there"
    change({"engine.address": None, "engine.workers": 1000})
    with pytest.raises(InputError, match="need 1000 cores, this machine has "):
        check.main()
    assert check.OUTPUT.read_text() == "what was there"
    change({"engine.address": cluster.address, "engine.workers": 2, "engine.timeout": 120})
    check.main()
    assert check.OUTPUT.read_text() == "params.yaml is valid\n"


def test_the_command_reports_a_cluster_and_refuses_another(workspace: Path, cluster: Running, python: Run) -> None:
    files.write_json(local.STATE, asdict(cluster))
    assert python("-m", "stages.cluster", "status").stdout == f"2 of 2 nodes run at {cluster.address}\n"
    again = python("-m", "stages.cluster", "start")
    assert again.returncode == 1
    refused = f"error: a cluster is already running at {cluster.address}: stop it with make cluster STOP=1\n"
    assert again.stderr == refused
    assert cluster.keeper()


def test_a_port_that_is_taken_is_refused(workspace: Path, mute: str, python: Run) -> None:
    port = mute.rpartition(":")[2]
    done = python("-m", "stages.cluster", "start", "--port", port)
    why = f"port {port} can't be used (Address already in use)"
    assert (done.returncode, done.stderr) == (1, f"error: {why}: choose another with make cluster PORT=...\n")
    assert not local.STATE.exists()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty temporary folder, in which Ray has never run: it takes $TMPDIR/ray for /tmp/ray."""
    with tempfile.TemporaryDirectory(prefix="m", dir="/tmp") as folder:  # a short path, which Ray uses
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.delenv("RAY_TMPDIR", raising=False)
        yield Path(folder)


def test_a_cluster_outlives_its_command_and_remains_of_a_killed_one_are_removed(
    workspace: Path, machine: Path, python: Run
) -> None:
    """Also where Ray has never run."""
    done = python("-m", "stages.cluster", "start", "--port", "0", "--nodes", "1")
    assert done.returncode == 0, done.stderr
    started = local.read(local.STATE)
    assert started
    try:
        assert f"dvc exp run -S engine.kind=ray -S engine.address={started.address}\n" in done.stdout
        assert [entry.name[:4] for entry in machine.iterdir()] == ["ray-"]
        psutil.Process(started.pid).kill()
        assert python("-m", "stages.cluster", "status").stdout == "no cluster is running\n"
        assert not started.processes()
        assert list(machine.iterdir()) == []
        assert not local.STATE.exists()
    finally:
        local.end(started)


def test_a_stage_s_own_cluster_leaves_nothing(settings: Engine, machine: Path, python: Run) -> None:
    program = f"""
from stages.engine.ray import cluster
from stages.engine.config import Engine
settings = Engine(**{settings.model_copy(update={"address": None, "workers": 1}).model_dump()})
with cluster.connected(settings):
    import ray
    print(ray.get(ray.remote(lambda: "worked").remote()))
"""
    done = python("-c", program)
    assert done.stdout == "worked\n", done.stderr
    assert list(machine.iterdir()) == []


def test_without_ray_the_command_says_what_to_install(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs the package ray, .*: make env GROUPS=ray"):
        local.start(local.STATE, 0)


@pytest.mark.parametrize(
    ("given", "meant"),
    [((), "start"), (("PORT=7000", "NODES=3"), "start --port 7000 --nodes 3"), (("STOP=1",), "stop")],
)
def test_make_cluster_is_that_command(given: tuple[str, ...], meant: str) -> None:
    command = ["make", "--no-print-directory", "--dry-run", "--old-file=.venv/.installed-ray", "cluster", *given]
    line = subprocess.check_output(command, cwd=ROOT, text=True).removeprefix("exec ")
    variables = dict(one.split("=") for one in given)  # make hands them on in the environment
    said = subprocess.check_output(["sh", "-c", f'python() {{ echo "$@"; }}; {line}'], env=variables, text=True)
    assert said.split() == ["-m", "stages.cluster", *meant.split()]


def test_a_killed_node_is_gone_and_the_others_stay(cluster: Running, settings: Engine) -> None:
    kill(cluster, 1)
    head, other = cluster.nodes()
    assert head is not None
    assert other is None
    with engine.connected(settings):
        until(lambda: len([node for node in ray.nodes() if node["Alive"]]) == 1)
    assert "1 x a node of 1 cores" in refusal(settings, timeout=1)


def test_the_command_stops_the_cluster(workspace: Path, cluster: Running, python: Run) -> None:
    files.write_json(local.STATE, asdict(cluster))
    assert python("-m", "stages.cluster", "status").stdout == f"1 of 2 nodes run at {cluster.address}\n"
    assert python("-m", "stages.cluster", "stop").stdout == f"stopped the cluster at {cluster.address}\n"
    assert not cluster.processes()
    assert not Path(cluster.folder).exists()
    assert python("-m", "stages.cluster", "stop").stdout == "no cluster is running\n"


@pytest.mark.long
def test_a_cluster_of_tests_is_gone_with_them(tmp_path: Path, python: Run) -> None:
    program = """
import os
from pathlib import Path
from stages.cluster import local
print(local.start(Path("state.json"), 0, nodes=1, owner=os.getpid()).folder, flush=True)
os.kill(os.getpid(), 9)
"""
    done = python("-c", program, cwd=tmp_path)
    started = local.Running(**files.read_json(tmp_path / "state.json"))
    try:
        assert done.stdout == f"{started.folder}\n"
        until(lambda: not started.processes() and not Path(started.folder).exists())
    finally:
        local.end(started)
