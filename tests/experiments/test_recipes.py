"""Recipes and published results: every recipe is valid, and no figure stands in the README that no file backs."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import psutil
import pytest
import yaml
from checkouts import Checkout
from conftest import ROOT
from conftest import Run as Python
from model_servers import until

from stages.bikes.config import check_together
from stages.check import parameters_model
from stages.common import config, files
from stages.common.errors import InputError
from stages.common.results import metrics
from stages.experiments import documents, publish, run
from stages.experiments.records import published, recipes
from stages.experiments.records.recipes import Experiment
from stages.experiments.records.runs import Run

RECIPES = recipes.read(ROOT / "recipes.yaml")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_sets_parameters_that_are_valid(name: str) -> None:
    parameters = recipes.applied(config.read(ROOT / "params.yaml"), RECIPES[name].set)
    checked: Any = config.check("", parameters_model(), parameters)
    check_together(checked.data.bikes.features, checked.bikes)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("mnist.optimiser=sgd", "{} is not a parameter: did you mean mnist.optimizer? params.yaml has all"),
        ("+mnist.optimiser=sgd", "{} is not a parameter: did you mean mnist.optimizer?"),
        ("mnist.epochs", "-S {} is not a setting: expected key=value"),
        ("mnist.mlp.hidden=[128,64", "-S {}=[128,64 is not a setting: '[128,64' is not valid YAML: is a bracket"),
        ("mnist.optimizer=sdg", "params.yaml: {} = 'sdg' is not allowed: expected 'adam'"),
        ("mnist.mlp.hidden=128", "params.yaml: {} = 128 is not allowed: expected a valid list"),
        ("mnist.adam=x", "params.yaml: {} = 'x' is not allowed: expected its parameters learning_rate, weight_decay"),
        ("mnist.augment=maybe", "params.yaml: {} = 'maybe' is not allowed: expected a valid boolean"),
        ("mnist.adam.learning_rate=0,003", "params.yaml: {} = '0,003' is not allowed: expected a valid number"),
    ],
)
def test_a_variant_s_settings_are_checked_before_anything_changes(workspace: Path, setting: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        run.main(None, None, [setting], None)
    assert str(refused.value).startswith(said.format(setting.partition("=")[0]))
    assert Path("params.yaml").read_text() == (ROOT / "params.yaml").read_text()


def test_a_variant_with_valid_settings_is_run_by_dvc(workspace: Path, python: Python) -> None:
    done = python("-m", "stages.experiments.run", "-S", "mnist.epochs=2")
    assert done.stderr.startswith("ERROR: you are not inside of a DVC repository")


@pytest.mark.parametrize("document", documents.TABLES, ids=str)
def test_the_documents_tables_match_the_result_files(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert documents.with_tables(document) == document.read_text(encoding="utf-8"), "run make readme-table"


@pytest.mark.parametrize("path", sorted((ROOT / published.PUBLISHED).glob("*.json")), ids=lambda path: path.stem)
def test_published_results_are_of_the_recipe_and_reach_its_metrics_within_the_stated_memory(path: Path) -> None:
    result, recipe = files.read_json(path), RECIPES[path.stem]
    assert result["recipe"] == path.stem
    assert result["settings"] == recipe.set
    assert [run["seed"] for run in result["runs"]] == recipe.seeds
    for name, bound in recipe.expected.items():
        reached = mean(run["metrics"][name] for run in result["runs"])
        assert metrics.read(ROOT)[recipe.project][name].gain(bound, reached) >= 0, name
    assert all(run.get("memory_gb", 0) <= recipe.memory for run in result["runs"])


def test_a_failed_seed_is_reported_and_earlier_seeds_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def experiment(one: Experiment) -> Run:
        assert one.settings["data.mnist.source"] == "../data"
        if one.seed == 1:
            raise subprocess.CalledProcessError(255, "dvc")
        return Run(seed=one.seed, metrics={"accuracy": 0.9}, training={})

    monkeypatch.chdir(ROOT)
    measured = publish.measure("mnist-adam", {"data.mnist.source": "../data"}, experiment, [])
    assert [run.seed for run in next(measured).runs] == [0]
    with pytest.raises(InputError, match="mnist-adam: seed 1 failed with exit code 255, see above: reports/published/"):
        next(measured)


def test_seeds_that_run_by_themselves_join_the_others_of_the_same_commit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def experiment(one: Experiment) -> Run:
        return Run(seed=one.seed, metrics={"accuracy": one.seed / 10}, training={})

    monkeypatch.chdir(ROOT)
    (last,) = publish.measure("mnist-adam", {}, experiment, [], seeds=[2])
    *_, others = publish.measure("mnist-adam", {}, experiment, [], seeds=[0, 1])
    assert [run.seed for run in published.added(last, others).runs] == [0, 1, 2]
    assert published.added(last, others).command == others.command
    for name in ("commit", "hardware"):  # a GPU is known only after the run
        with pytest.raises(InputError, match=f"has seeds 2, measured with other {name}, and seeds"):
            published.added(last.model_copy(update={name: "other"}), others)
    assert published.added(None, others) == others
    published.join(last.model_copy(update={"commit": "other"}), tmp_path)
    with pytest.raises(InputError, match=r"mnist-adam-seeds-0-1.json has the new results"):
        published.join(others, tmp_path)
    assert published.read("mnist-adam-seeds-0-1", tmp_path) == others
    with pytest.raises(InputError, match="--seeds for mnist-adam: found 3, expected some of 0, 1, 2"):
        next(publish.measure("mnist-adam", {}, experiment, [], seeds=[2, 3]))


def test_memory_is_that_of_all_processes_at_once() -> None:
    hold = "import time; held = b'1' * 150_000_000; time.sleep(1)"
    both = f"import subprocess, sys; held = b'1' * 150_000_000; subprocess.run([sys.executable, '-c', {hold!r}])"
    assert 0.3 < publish.watched([sys.executable, "-c", both]) < 0.6
    with pytest.raises(subprocess.CalledProcessError):
        publish.watched([sys.executable, "-c", "raise SystemExit(3)"])


def test_publishing_needs_no_dvc(workspace: Path, python: Python) -> None:
    script = "import sys, stages.experiments.publish; print('dvc' in sys.modules)"
    assert python("-c", script).stdout == "False\n"


@pytest.mark.slow
def test_without_dvc_the_stages_run_by_themselves_and_their_results_are_kept(workspace: Path, python: Python) -> None:
    recipe = RECIPES["mnist-adam"].model_copy(update={"seeds": [3], "set": {"mnist": {"epochs": 1, "augment": False}}})
    Path("recipes.yaml").write_text(yaml.safe_dump({"one": recipe.model_dump(exclude_none=True)}))
    Checkout(workspace).start()
    program = ("-m", "stages.experiments.publish", "one", "--without-dvc")
    refused = python(*program, "-S", "data.source=nowhere")
    assert refused.returncode == 1
    assert "there is no folder" in refused.stderr
    assert "one: seed 3 failed with exit code 1, see above: no results were saved" in refused.stderr
    done = python(*program, "-S", "mnist.threads=1")
    assert done.returncode == 0, done.stderr
    kept = published.read("one")
    assert kept is not None
    assert kept.changes == {"mnist.threads": 1}
    assert kept.command == "python -m stages.experiments.publish one --without-dvc -S mnist.threads=1"
    (result,) = kept.runs
    assert result.history
    assert (result.seed, result.metrics["data"], result.history["epoch"]) == (3, "sample", [1])
    assert result.metrics["accuracy"] > 0.6
    assert result.training["precision"] == "float32"
    assert not list(publish.TEMPORARY.iterdir())
    # Another seed joins the first one only if it has the same settings.
    Path("recipes.yaml").write_text(Path("recipes.yaml").read_text().replace("- 3\n", "- 3\n  - 4\n"))
    other = python(*program, "-S", "mnist.threads=2", "--seeds", "4")
    assert (other.returncode, published.read("one")) == (1, kept)
    assert "one.json has seeds 3, measured with other changes, and seeds" in other.stderr
    assert python(*program, "-S", "mnist.threads=1", "--seeds", "4").returncode == 0
    both = published.read("one")
    assert both
    assert [run.seed for run in both.runs] == [3, 4]


@pytest.mark.parametrize("kill", [os.kill, os.killpg], ids=["process", "group"])
def test_a_killed_command_leaves_no_training_behind(workspace: Path, kill: Callable[[int, int], None]) -> None:
    recipe = RECIPES["mnist-adam"].model_copy(update={"seeds": [0], "set": {"mnist.epochs": 1000}})
    Path("recipes.yaml").write_text(yaml.safe_dump({"long": recipe.model_dump(exclude_none=True)}))
    Checkout(workspace).start()
    command = [sys.executable, "-m", "stages.experiments.publish", "long", "--without-dvc"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with psutil.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        until(
            lambda: list(publish.TEMPORARY.glob("*/data/mnist/features")) and len(process.children(recursive=True)) > 1
        )
        below = process.children(recursive=True)
        kill(process.pid, signal.SIGKILL)
    assert psutil.wait_procs(below, timeout=120)[1] == []


def test_a_gpu_is_named_before_the_processor() -> None:
    runs = [Run(seed=0, metrics={}, training=found) for found in ({"device": "NVIDIA H200"}, {"device": "cpu"}, {})]
    assert publish.gpus(runs) == ["NVIDIA H200"]
