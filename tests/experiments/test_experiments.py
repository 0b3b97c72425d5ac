"""Named experiments run as their users run them: one, all of a project, again after a failure.

The stages here are stand-ins of a line each: what is tested is what runs them. `check` is the pipeline's own. That recipes run
real stages is tested with the worked examples, and with sweeps.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import model_servers
import psutil
import pytest
import yaml
from checkouts import Checkout, clone, processes_in
from dvc.repo import Repo
from mlflow import MlflowClient
from model_servers import until

from stages.experiments.records import recipes
from stages.experiments.records.done import is_done
from stages.experiments.records.recipes import Experiment, Recipe
from stages.experiments.running import clones as running

SMALL: dict[str, object] = {"epochs": 1, "batch_size": 256}


def recipe(settings: dict[str, object], seeds: list[int], memory: float = 0.5) -> dict[str, object]:
    known = {"project": "mnist", "description": "a test", "published": {}, "expected": {}, "memory": memory}
    return known | {"set": {"mnist": settings}, "seeds": seeds}


PIPELINE = """
stages:
  check:
    cmd: python -m stages.check
    deps: [params.yaml]
    outs: [reports/parameters.txt]
  train:
    foreach: [mnist]
    do:
      cmd: python stage.py models/mnist/trained
      params: [mnist]
      deps: [reports/parameters.txt]
      outs: [models/mnist/trained]
  evaluate:
    foreach: [mnist]
    do:
      cmd: python stage.py reports/mnist/metrics.json
      deps: [models/mnist/trained]
      outs: [reports/mnist/metrics.json: {cache: false}]
  deploy:
    foreach: [mnist]
    do:
      cmd: python stage.py reports/mnist/deploy.json
      deps: [reports/mnist/metrics.json]
      outs: [reports/mnist/deploy.json]
  plot:
    foreach: [mnist]
    do:
      cmd: python stage.py reports/mnist/plots
      deps: [models/mnist/trained]
      outs: [reports/mnist/plots]
metrics: [reports/mnist/metrics.json]
"""
STAGE = """
import pathlib, sys, time, yaml
if yaml.safe_load(open("params.yaml"))["mnist"]["epochs"] > 1000:
    time.sleep(600)
out = pathlib.Path(sys.argv[1])
out.parent.mkdir(parents=True, exist_ok=True)
if out.suffix:
    out.write_text('{"data": "sample", "accuracy": 0.5}')
else:
    (out / "0").mkdir(parents=True)
    (out / "0/epochs.csv").write_text("epoch,train_loss,valid_loss\\n1,0.5,0.4\\n")
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A clone with stages of no work, and recipes; what its queue started is ended."""
    copy = clone(tmp_path_factory.mktemp("experiments"))
    (copy.root / "dvc.yaml").write_text(PIPELINE)
    (copy.root / "stage.py").write_text(STAGE)
    copy.run("git rm -q --cached dvc.lock && rm -r dvc.lock reports")
    write(copy, {"mnist-one": recipe(SMALL, [0, 1]), "mnist-two": recipe(SMALL | {"optimizer": "sdg"}, [0])})
    copy.run("git add -A && git commit -qm recipes")
    yield copy
    for process in processes_in(copy.root):
        process.kill()


def write(copy: Checkout, entries: dict[str, dict[str, object]]) -> None:
    (copy.root / "recipes.yaml").write_text(yaml.safe_dump(entries))


def run(copy: Checkout, arguments: str) -> str:
    return copy.run(f"make --no-print-directory -o .venv/.installed {arguments}", check=False)


@pytest.mark.slow
def test_a_recipe_is_an_experiment_for_each_seed_and_is_not_done_twice(built: Checkout) -> None:
    run(built, "recipe NAME=mnist-one")
    assert built.returncode == 0
    assert set(built.run("dvc exp list --name-only").split()) == {"mnist-one", "mnist-one-seed1"}
    assert built.run("git status --porcelain") == ""  # the working tree is as it was
    shown = run(built, "recipe NAME=mnist-one")
    assert "already done: mnist-one, mnist-one-seed1" in shown
    assert "Running stage" not in shown


@contextmanager
def tracking(kind: str, folder: Path) -> Iterator[str]:
    """The address of an MLflow server on this machine, or of a folder, which MLflow takes in its place."""
    if kind == "folder":
        yield f"{folder}/runs"
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--workers", "1", "--port", str(port), "--backend-store-uri", f"{folder}/runs"]
    command = [sys.executable, "-m", "mlflow", "server", *options, "--default-artifact-root", f"{folder}/runs"]
    address = f"http://127.0.0.1:{port}"
    with model_servers.running(command, folder, folder / "log", lambda _: address if answers(address) else None):
        yield address


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health").is_success
    except httpx.HTTPError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", pytest.param("server", marks=pytest.mark.long)])
def test_finished_experiments_are_logged_to_mlflow_once(
    built: Checkout, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    nobody = "http://127.0.0.1:9"
    refused = built.run(f"MLFLOW_TRACKING_URI={nobody} make -o .venv/.installed recipe NAME=mnist-one", check=False)
    assert f"error: MLFLOW_TRACKING_URI = {nobody} does not answer as MLflow does" in refused
    with tracking(kind, tmp_path) as address:
        client = MlflowClient(address)
        for said in ("logged to MLflow: mnist-one, mnist-one-seed1", ""):
            shown = built.run(f"MLFLOW_TRACKING_URI={address} make -o .venv/.installed recipe NAME=mnist-one")
            assert said in shown
            group = client.get_experiment_by_name("mnist")
            assert group
            found = client.search_runs([group.experiment_id])
            assert {run.info.run_name for run in found} == {"mnist-one", "mnist-one-seed1"}
            assert len(found) == 2
    one = next(run.data for run in found if run.info.run_name == "mnist-one")
    metrics = json.loads(built.run("git", "show", f"{one.tags['dvc.revision']}:reports/mnist/metrics.json"))
    assert one.metrics["accuracy"] == metrics["accuracy"]
    assert one.metrics.keys() >= {"valid_loss", "train_loss"}
    assert (one.params["mnist.epochs"], one.params["data.source"]) == ("1", "sample")


@pytest.mark.slow
def test_a_failure_has_a_reason_and_the_same_command_retries_it(built: Checkout) -> None:
    shown = run(built, "recipes RUN=mnist JOBS=2")
    assert built.returncode == 2  # make's
    assert "already done: mnist-one, mnist-one-seed1" in shown
    assert "1 experiment, 1 at a time" in shown
    assert "error: params.yaml: mnist.optimizer = 'sdg' is not allowed" in shown
    assert re.search("^error: mnist-two failed, see above", shown, re.MULTILINE)

    write(built, {"mnist-two": recipe(SMALL | {"optimizer": "sgd"}, [0, 1])})
    shown = run(built, "recipes RUN=mnist JOBS=2")
    assert built.returncode == 0, shown
    assert re.search("1/2 mnist-two(-seed1)? done", shown)
    assert {"mnist-two", "mnist-two-seed1"} <= set(built.run("dvc exp list --name-only").split())
    assert not any(path.is_dir() for path in built.root.glob(".dvc/tmp/exps/runs/all-mnist/*/*"))


@pytest.mark.slow
def test_ctrl_c_stops_running_experiments_and_a_killed_one_is_repeated(built: Checkout) -> None:
    command = [sys.executable, "-m", "stages.experiments.run", "--all", "mnist", "--jobs", "2"]
    for number, seeds in ((signal.SIGINT, [0, 1]), (signal.SIGKILL, [0])):
        write(built, {"mnist-long": recipe(SMALL | {"epochs": 10_000}, seeds)})
        with subprocess.Popen(command, cwd=built.root) as running:
            until(lambda: any("stage.py" in (one.info["cmdline"] or []) for one in processes_in(built.root)), 300)
            running.send_signal(number)
        until(lambda: not processes_in(built.root))
    assert "mnist-long" not in built.run("dvc exp list --name-only")
    write(built, {"mnist-long": recipe(SMALL, [0])})
    shown = run(built, "recipes RUN=mnist")
    assert "1/1 mnist-long done" in shown


@pytest.mark.slow
def test_an_experiment_is_done_only_for_its_settings_and_code(built: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(built.root)
    write(built, {"mnist-one": recipe(SMALL, [0])})
    (as_it_was,) = recipes.experiments("mnist-one", {})
    (changed,) = recipes.experiments("mnist-one", {"mnist.batch_size": 128})
    assert is_done(Repo(), as_it_was)
    assert not is_done(Repo(), changed)
    module = built.root / "stages/mnist/model.py"
    text = module.read_text()
    module.write_text(text + "# edited\n")
    assert not is_done(Repo(), as_it_was)
    module.write_text(text)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("recipe NAME=mnist-cmm", "error: 'mnist-cmm' is not a recipe: expected one of mnist-one"),
        ("recipes RUN=minst", "error: 'minst' has no recipes: expected one of mnist"),
        ("recipe NAME=mnist-one SET=mnist.epochs", "error: -S mnist.epochs is not a setting: expected key=value"),
        ("recipe NAME=mnist-one SET=mnist.epoch=3", "error: mnist.epoch is not a parameter"),
        ("recipes RUN=mnist JOBS=0", "error: --jobs 0 is not allowed: expected 1 or more"),
    ],
)
def test_an_invalid_argument_is_reported_in_one_line(built: Checkout, arguments: str, words: str) -> None:
    write(built, {"mnist-one": recipe(SMALL, [0])})
    shown = run(built, arguments)
    assert built.returncode == 2
    assert shown.startswith(words), shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("count", "memory", "threads", "jobs", "expected"),
    [
        (9, 1.0, 1, None, 8),  # a core each
        (9, 1.0, 2, None, 4),
        (9, 1.0, None, None, 1),  # each wants all cores
        (2, 1.0, 1, None, 2),  # no more than there are
        (9, 4.0, 1, None, 4),  # memory
        (9, 4.0, 1, 6, 4),  # memory, whatever is asked for
        (9, 1.0, None, 3, 3),
        (9, 99.0, 1, None, 1),  # one is always tried
    ],
)
def test_cores_and_memory_limit_the_experiments_at_a_time(
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    count: int,
    memory: float,
    threads: int | None,
    jobs: int | None,
    expected: int,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 16.5e9}))
    one = Experiment("one", Recipe.model_validate(recipe({}, [0], memory)), {"mnist.threads": threads})
    assert running.room([one] * count, jobs) == expected


def test_overrides_are_set_key_by_key() -> None:
    settings = {"mnist": {"network": "cnn", "threads": None}, "bikes.models": ["linear"], "mnist.augment": True}
    assert recipes.overrides(settings) == [
        *("-S", "mnist.network=cnn", "-S", "mnist.threads=null"),
        *("-S", 'bikes.models=["linear"]', "-S", "mnist.augment=true"),
    ]
