"""Sweeps: what is drawn from ranges, what is refused, and one that is killed and goes on."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import yaml
from checkouts import BIN, Checkout, processes_in
from conftest import ROOT
from model_servers import until

from stages.common.errors import InputError
from stages.experiments.records import recipes
from stages.experiments.records.ranges import Sweep
from stages.experiments.sweeps.trials import Plan, Result

RECIPE = """
tiny:
  project: mnist
  description: a test
  set: {mnist.optimizer: sgd}
  seeds: [0]
  published: {}
  expected: {}
  memory: 0.5
  sweep:
    ranges: RANGES
    trials: 3
    epochs: [1, 2]
    score: valid_loss
"""


def read(ranges: str, folder: Path, others: str = "") -> recipes.Recipe:
    (folder / "recipes.yaml").write_text(RECIPE.replace("RANGES", ranges) + others)
    return recipes.read(folder / "recipes.yaml")["tiny"]


def test_settings_are_sampled_evenly_from_the_ranges_and_rounded(tmp_path: Path) -> None:
    ranges = "{a.rate: {log: [1e-4, 1e-2]}, a.part: {uniform: [0, 0.3]}, a.depth: {integers: [2, 4]}, a.kind: {choice: [x, [1, 2]]}}"
    drawn = many(read(ranges, tmp_path).sweep, 300).settings(0)
    assert {one["a.depth"] for one in drawn} == {2, 3, 4}
    assert [one["a.kind"] for one in drawn].count("x") in range(145, 156)
    rates = [one["a.rate"] for one in drawn]
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)
    assert sum(rate < 1e-3 for rate in rates) in range(145, 156)  # half below the middle of the logarithm
    assert all(0 <= one["a.part"] <= 0.3 for one in drawn)
    assert all(float(f"{one[name]:.3g}") == one[name] for one in drawn for name in ("a.rate", "a.part"))


def many(sweep: Sweep | None, trials: int) -> Sweep:
    assert sweep
    return sweep.model_copy(update={"trials": trials})


def test_a_trial_s_settings_depend_on_the_seed_and_its_number_alone() -> None:
    sweep = recipes.read(ROOT / "recipes.yaml")["mnist-sweep"].sweep
    assert sweep
    assert many(sweep, 20).settings(0)[: sweep.trials] == sweep.settings(0) != sweep.settings(1)


@pytest.mark.parametrize(
    ("ranges", "others", "words"),
    [
        ("{mnist.batch_size: {log: [3, 2]}}", "", "tiny.sweep.ranges.mnist.batch_size.log = [3, 2] is not allowed"),
        ("{a: {log: [0, 1]}}", "", "tiny.sweep.ranges.a.log = [0, 1] is not allowed: expected two numbers above 0"),
        ("{a: {uniform: [1]}}", "", "tiny.sweep.ranges.a.uniform = [1] is not allowed: expected at least 2 items"),
        ("{a: {integers: [1, 2.5]}}", "", "tiny.sweep.ranges.a.integers.1 = 2.5 is not allowed: expected a valid integer"),
        ("{a: {}}", "", "tiny.sweep.ranges.a = {} is not allowed: expected one of log, uniform, integers, choice"),
        ("{a: {lag: [1, 2]}}", "", "tiny.sweep.ranges.a = {'lag': [1, 2]} is not allowed: expected one of log, uniform, integers, choice"),
        ("{a: [1, 2]}", "", "tiny.sweep.ranges.a = [1, 2] is not allowed: expected one of log, "),
        ("{}", "", "tiny.sweep.ranges = {} is not allowed: expected at least 1 item"),
        ("{mnist.epochs: {choice: [1, 2]}}", "", "expected ranges of parameters other than epochs and seed"),
        ("{a: {choice: [1, 2]}}", "    epochs: [1, 3, 4]\n", "tiny.sweep.epochs = [1, 3, 4] is not allowed: expected each to be "),
        ("{a: {choice: [1, 2]}}", "    trials: 1\n", "tiny.sweep.trials = 1 is not allowed: expected greater than or equal to 2"),
        ("{a: {choice: [1, 2]}}", "    score: accuracy\n", "expected 'valid_loss' or 'valid_accuracy'"),
        ("{a: {choice: [1, 2]}}", "  seeds: [0, 1]\n", "expected one seed for a recipe with a sweep"),
    ],
)  # fmt: skip
def test_an_invalid_sweep_is_refused_in_one_line(ranges: str, others: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(words)) as refused:
        read(ranges, tmp_path, others)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("ranges", "words"),
    [
        ("{mnist.mlp.dropout: {uniform: [0.9, 1.8]}}", r"tiny: trial \d can't run: .*mnist.mlp.dropout = 1"),
        ("{mnist.mlp.droput: {uniform: [0, 1]}}", r"droput is not a parameter: did you mean mnist.mlp.dropout\?"),
    ],
)
def test_settings_that_are_not_allowed_are_refused_before_anything_runs(
    ranges: str, words: str, workspace: Path
) -> None:
    from stages.experiments.sweeps.sweep import planned

    read(ranges, workspace)
    with pytest.raises(InputError, match=words):
        planned("tiny", {})


def test_a_resumed_sweep_repeats_its_decisions(tmp_path: Path) -> None:
    from stages.experiments.sweeps.asha import Rungs

    sweep = many(read("{a: {choice: [1, 2]}}", tmp_path).sweep, 4)
    assert Rungs(sweep, []).left == {trial: [1, 2] for trial in range(4)}
    first = [Result(2, 1, 0.5), Result(0, 1, 0.9), Result(2, 2, 0.4), Result(1, 1, 0.1)]  # a loss
    assert Rungs(sweep, first).left == {1: [2], 3: [1, 2]}  # 2 is done, 0 was worse than 2
    assert Rungs(sweep, first[1:]).left[0] == [2]  # the first that comes is taken on


STARTER = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-m", "stages.experiments.running.with_parent", "sh", "-c", "echo begun; sleep 600 & wait"], stdin=subprocess.PIPE)
time.sleep(600)
"""


def test_a_command_is_killed_when_its_parent_ends(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", STARTER]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout
        assert starter.stdout.readline() == "begun\n"
        children = psutil.Process(starter.pid).children
        until(lambda: len(children(recursive=True)) == 3)  # with_parent, sh, sleep
        below = children(recursive=True)
        starter.kill()
    assert psutil.wait_procs(below, timeout=120)[1] == []


@pytest.fixture(scope="module")
def project(mnist_results: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout of mnist alone, with a sweep of two trials, of which the second can't be trained."""
    project = mnist_results.copy(tmp_path_factory.mktemp("sweep") / "mnist")
    recipe = yaml.safe_load(RECIPE.replace("RANGES", "{mnist.batch_size: {choice: [64, 5000]}}"))
    recipe["tiny"]["sweep"]["trials"] = 2
    (project.root / "recipes.yaml").write_text(yaml.safe_dump(recipe))
    project.run("git", "commit", "--quiet", "--all", "--message", "a sweep")
    return project


def revisions(project: Checkout) -> dict[str, str]:
    listed = project.run("git", "for-each-ref", "--format=%(refname:lstrip=4) %(objectname)", "refs/exps/")
    return dict(line.split() for line in listed.splitlines() if line.startswith("tiny"))


@pytest.mark.long
@pytest.mark.slow
def test_a_killed_sweep_resumes_and_keeps_the_best_trial_under_its_name(project: Checkout) -> None:
    command = [str(BIN / "python"), "-m", "stages.experiments.run", "tiny", "--jobs", "1"]
    with subprocess.Popen(**project.command(*command), stdout=subprocess.PIPE, text=True) as sweep:
        assert sweep.stdout
        assert any("tiny-t0-e1 valid_loss" in line for line in sweep.stdout)
        below = psutil.Process(sweep.pid).children(recursive=True)
        working = [one for one in below if "Agent" not in "".join(one.cmdline())]  # Ray's own agents take half a minute
        sweep.kill()
    assert psutil.wait_procs(working, timeout=120)[1] == []
    copies = project.root / ".dvc/tmp/exps"
    psutil.wait_procs(processes_in(copies), timeout=120)
    assert processes_in(copies) == []
    assert project.run("git", "status", "--porcelain") == ""
    before = revisions(project)
    assert before.keys() == {"tiny-t0-e1"}

    shown = project.run(*command)
    assert "2 trials of 1, 2 epochs, 1 runs are already done; 1 at a time" in shown
    assert "tiny-t0-e1 valid_loss" not in shown
    assert "tiny-t1-e1 failed: error: mnist.batch_size = 5000 is not allowed: expected at most " in shown
    assert re.search(r"^t0 +64 +2 +0\.\d{4} +best *$", shown, re.MULTILINE), shown
    assert re.search(r"^t1 +5000 +0 +- +failed *$", shown, re.MULTILINE), shown
    after = revisions(project)
    assert after.keys() == {"tiny-t0-e1", "tiny-t0-e2", "tiny"}
    assert after["tiny-t0-e1"] == before["tiny-t0-e1"]
    kept = [yaml.safe_load(project.run("git", "show", f"{after[name]}:params.yaml")) for name in ("tiny", "tiny-t0-e2")]
    assert kept[0] == kept[1]
    assert kept[0]["mnist"]["epochs"] == 2
    assert project.run("git", "status", "--porcelain") == ""

    recipe = yaml.safe_load((project.root / "recipes.yaml").read_text())
    recipe["tiny"]["sweep"]["ranges"] = {"mnist.batch_size": {"choice": [64, 65]}}
    (project.root / "recipes.yaml").write_text(yaml.safe_dump(recipe))
    changed = project.run(*command)
    assert "2 runs are already done" in changed
    assert "tiny-t1-e1 valid_loss" in changed
    project.run("git", "checkout", "--quiet", "recipes.yaml")
    project.dvc("exp", "apply", "tiny")
    assert (project.root / "models/mnist/export/model.tar.gz").exists()


def plan(sweep: Sweep, recipe: recipes.Recipe) -> Plan:
    return Plan("tiny", recipe, sweep, sweep.settings(0), {}, "epochs.csv", "last")


def test_the_best_is_chosen_among_trials_with_all_epochs(tmp_path: Path) -> None:
    from stages.experiments.sweeps.sweep import best_of

    recipe = read("{a: {choice: [1, 2]}}", tmp_path)
    sweep = many(recipe.sweep, 4)
    results = [Result(0, 2, 0.5), Result(1, 1, 0.1), Result(2, 2, 0.4), Result(3, 2, 0.4)]
    assert best_of(plan(sweep, recipe), results, tmp_path).trial == 2
    accuracy = sweep.model_copy(update={"score": "valid_accuracy"})
    assert best_of(plan(accuracy, recipe), results, tmp_path).trial == 0
    with pytest.raises(InputError, match="tiny: no trial reached 2 epochs, see above"):
        best_of(plan(sweep, recipe), results[1:2], tmp_path)


def test_the_score_is_that_of_the_kept_weights(tmp_path: Path) -> None:
    recipe = read("{a: {choice: [1, 2]}}", tmp_path)
    rows = [{"valid_loss": loss} for loss in ("0.3", "0.1", "0.2")]
    last = plan(many(recipe.sweep, 2), recipe)
    assert last.score(rows) == 0.2
    assert replace(last, keep="best").score(rows) == 0.1
