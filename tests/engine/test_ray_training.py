"""Training by the workers of a Ray cluster: what one process makes of it, whoever of them is killed; errors in a line."""

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray_clusters
from checkouts import QUICK
from conftest import ROOT, Change, Run
from model_servers import until
from ray_clusters import workers
from upath import UPath

from stages.cluster.local import Running
from stages.common.errors import InputError
from stages.experiments.records.revisions import Revision
from stages.mnist import featurize, prepare, train

pytestmark = pytest.mark.slow

TRAINED = Path("models/mnist/trained")
CNN = {
    "mnist.network": "cnn",
    "mnist.cnn": {"width": 8, "depth": 1, "kernel": 3, "dropout": 0.2},
    "mnist.augment": True,
    "mnist.epochs": 2,
    **QUICK,
}
SMALL = {"image_size": 32, "width": 8, "depth": 1, "dropout": 0.1, "weights": "none"}
ROWS: dict[str, dict[str, object]] = {
    "mnist": CNN,
    "landmarks": {
        "landmarks.network": "residual",
        "landmarks.residual": SMALL | {"train_scale": 1.0},
        "landmarks.epochs": 2,
        "landmarks.precision": "float32",
    },
    "scones": {"scones.residual": SMALL, "scones.epochs": 2, "scones.adamw.learning_rate": 0.001},
}


def on(cluster: Running) -> dict[str, object]:
    return {"engine.kind": "ray", "engine.address": cluster.address}


def losses(project: str) -> list[float]:
    """Of each training step."""
    with next(Path("models", project, "trained").rglob("steps.csv")).open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def assert_same(found: list[float], expected: list[float]) -> None:
    """The same but for rounding: a network whose weights are changed by a ten millionth drifts away from itself as far."""
    assert found[:4] == pytest.approx(expected[:4], rel=1e-4)
    assert found == pytest.approx(expected, rel=2e-2)


@pytest.mark.long
@pytest.mark.parametrize("project", list(ROWS))
def test_two_workers_train_what_one_process_does(
    cluster: Running, project: str, workspace: Path, change: Change, python: Run
) -> None:
    change(ROWS[project] | {f"{project}.log_every": 1})
    for stage in ("prepare", "featurize"):
        import_module(f"stages.{project}.{stage}").main()
    assert python("-m", f"stages.{project}.train").returncode == 0
    alone = losses(project)
    change(on(cluster))
    done = python("-m", f"stages.{project}.train")
    assert done.returncode == 0, done.stderr
    assert "images/s" in done.stderr  # the first worker's progress
    assert_same(losses(project), alone)
    assert set(Revision().training(project)) >= {"seconds", "images_per_second"}
    assert not list(Path("models/checkpoints").rglob("*.pt"))
    assert not list(Path("models/checkpoints/runs").iterdir())


@pytest.fixture
def prepared(workspace: Path) -> Path:
    """A project with the features of mnist."""
    prepare.main()
    featurize.main()
    return workspace


@pytest.fixture
def long(prepared: Path, change: Change) -> None:
    """A training of some seconds an epoch."""
    change(CNN | {"mnist.epochs": 4})


@pytest.fixture
def begun() -> Iterator[Callable[[], subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []

    def begin() -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "stages.mnist.train"]
        processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield begin
    for one in processes:
        one.kill()


def checkpoint(process: subprocess.Popen[str]) -> Path:
    """The first that a training keeps, once it is there."""

    def kept() -> list[Path]:
        assert process.poll() is None, process.communicate()[1]
        return list(Path("models/checkpoints").rglob("*.pt"))

    found: list[Path] = until(kept, 600)
    return found[0]


def resumed(process: subprocess.Popen[str]) -> str:
    """What a training printed that lost workers and resumed from its checkpoint."""
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert 1 in done_again(errors)  # not from the beginning
    assert len((TRAINED / "0/epochs.csv").read_text().splitlines()) == 5
    return errors


def done_again(errors: str) -> list[int]:
    """With how many images each attempt began, by its progress bar."""
    lines = errors.replace("\r", "\n").splitlines()
    bars = [line for line in lines if line.startswith("mnist cnn") and "[00:00<" in line]
    return [0 if " 0.00/" in bar else 1 for bar in bars]


@pytest.mark.parametrize("compared", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_killed_worker_costs_no_more_than_an_epoch(
    cluster: Running, long: None, change: Change, begun: Callable[[], subprocess.Popen[str]], compared: bool
) -> None:
    """The weights are those of a training that nothing befell (``compared``, which takes a second one)."""
    change(on(cluster))
    process = begun()
    checkpoint(process)
    victim, *_ = workers(cluster, "RayTrainWorker")
    victim.kill()
    assert "was lost: all workers restart from the last checkpoint" in resumed(process)
    if compared:
        found = (TRAINED / "0/weights.pt").read_bytes()
        assert begun().wait(600) == 0
        assert (TRAINED / "0/weights.pt").read_bytes() == found


@pytest.mark.long
def test_a_killed_stage_leaves_no_worker_and_resumes_from_its_checkpoint(
    cluster: Running, long: None, change: Change, python: Run, begun: Callable[[], subprocess.Popen[str]]
) -> None:
    change(on(cluster))
    process = begun()
    kept = checkpoint(process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    psutil.wait_procs(workers(cluster, "RayTrainWorker"), timeout=60)
    assert not workers(cluster, "RayTrainWorker")
    assert kept.exists()
    done = python("-m", "stages.mnist.train")
    assert done.returncode == 0, done.stderr
    assert 0 not in done_again(done.stderr)
    assert len((TRAINED / "0/epochs.csv").read_text().splitlines()) == 5


DIVERGING = {"mnist.optimizer": "sgd", "mnist.sgd.learning_rate": 10.0, "mnist.sgd.momentum": 0.99}
ALWAYS_TOO_MUCH = {"RAY_memory_usage_threshold": "0.01", "RAY_memory_monitor_refresh_ms": "100"}
"""Ray ends workers where a machine's memory is used up to a threshold; here it always is."""


@pytest.mark.long
@pytest.mark.parametrize(
    ("settings", "environment", "words"),
    [
        (CNN | DIVERGING, {}, "error: training diverged at epoch "),
        ({}, ALWAYS_TOO_MUCH, "error: a worker ran out of memory: lower batch_size"),
    ],
    ids=["nan", "memory"],
)
def test_a_failure_is_reported_in_one_line_and_the_model_stays(
    request: pytest.FixtureRequest,
    prepared: Path,
    change: Change,
    python: Run,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, object],
    environment: dict[str, str],
    words: str,
) -> None:
    (TRAINED / "0").mkdir(parents=True)
    (TRAINED / "0/weights.pt").write_bytes(b"before")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    # Variables reach only a cluster of the stage's own.
    change(settings | ({"engine.kind": "ray"} if environment else on(request.getfixturevalue("cluster"))))
    done = python("-m", "stages.mnist.train")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(words)
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1 or not environment
    assert (TRAINED / "0/weights.pt").read_bytes() == b"before"


def test_a_number_of_workers_that_can_t_share_a_batch_is_refused(prepared: Path, change: Change) -> None:
    change({"engine.kind": "ray", "engine.workers": 3})
    with pytest.raises(InputError, match=r"engine\.workers = 3 can't share batches of 64"):
        train.main()


@pytest.mark.long
@pytest.mark.parametrize("storage", ["folder", "s3://bucket/runs"])
def test_nodes_without_a_shared_folder_use_the_storage(
    prepared: Path, change: Change, python: Run, tmp_path: Path, s3: Any, storage: str
) -> None:
    assert python("-m", "stages.mnist.train").returncode == 0
    alone = losses("mnist")
    place = UPath(storage.replace("folder", str(tmp_path / "storage")))
    change({"engine.kind": "ray", "engine.storage": str(place)})
    done = python("-m", "stages.mnist.train")  # on a cluster of its own
    assert done.returncode == 0, done.stderr
    assert_same(losses("mnist"), alone)
    kept = {path.relative_to(place).parts[0] for path in place.rglob("*") if path.is_file()}
    assert kept == {"features"}  # no checkpoint, no result


@pytest.mark.long
def test_training_continues_without_a_lost_node(
    long: None, change: Change, begun: Callable[[], subprocess.Popen[str]]
) -> None:
    with ray_clusters.running() as cluster:
        change(on(cluster))
        process = begun()
        checkpoint(process)
        ray_clusters.kill(cluster, 1)
        assert "was lost" in resumed(process)
