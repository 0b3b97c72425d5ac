"""The three commands that this repository is for, as its users type them, in a clone of their own."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import dvc.api
import pytest
from checkouts import Checkout, clone

from stages import projects
from stages.mnist.sources import sample

pytestmark = pytest.mark.slow

RESULTS = [
    *(f"models/{project}/export/model.tar.gz" for project in projects.names()),
    *(f"reports/{project}/{name}.json" for project in projects.names() for name in ("metrics", "deploy")),
    "reports/bikes/submission.csv",
    "reports/mnist/confusion.csv",
    "reports/landmarks/confusion.csv",
    "reports/scones/confusion.csv",
]


@pytest.fixture(scope="module")
def built(results: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A clone with this checkout's results, which `make repro` made from the sample, committed."""
    copy = results.copy(tmp_path_factory.mktemp("built"))
    # The environment is the one that these tests run in: make is told not to look after it.
    shown = copy.run("make -o .venv/.installed repro")
    assert re.search(r"reports/mnist/metrics.json +0\.9", shown)
    assert "reports/index.html" in shown
    copy.run("git add -A && git commit -qm results --allow-empty")
    return copy


@pytest.fixture
def project(built: Checkout) -> Iterator[Checkout]:
    yield built
    built.restore()


def stages_run(output: str) -> set[str]:
    """Those that ran, or whose results DVC's cache had of a run with the same inputs."""
    return set(re.findall(r"^(?:Running stage|Stage) '(.+?)'(?::| is cached)", output, re.MULTILINE))


def test_repro_takes_every_project_from_its_sample_to_a_served_export(project: Checkout) -> None:
    for path in RESULTS:
        assert (project.root / path).is_file(), path
    for name in projects.names():
        metrics = project.json(f"reports/{name}/metrics.json")
        assert metrics["data"] == "sample"
        assert list((project.root / f"reports/{name}/plots").glob("*.png"))
    assert project.json("reports/mnist/metrics.json")["accuracy"] > 0.9
    assert project.json("reports/bikes/metrics.json")["rmsle_test"] < 0.6


def test_a_clone_with_autocrlf_has_the_same_bytes(built: Checkout, tmp_path: Path) -> None:
    built.run(f"git clone -q -c core.autocrlf=true . {tmp_path}/turned")
    differing = built.run(
        f"diff -rq --exclude .git --exclude .venv stages {tmp_path}/turned/stages | grep -v __pycache__", check=False
    )
    assert differing == ""
    assert "\r" not in (tmp_path / "turned/params.yaml").read_bytes().decode()


def test_a_second_repro_runs_nothing(project: Checkout) -> None:
    assert stages_run(project.run("dvc repro")) == set()
    assert "up to date" in project.run("dvc status")
    assert project.run("git status --porcelain") == ""


def test_exp_run_tries_a_variant_and_metrics_diff_shows_it(project: Checkout) -> None:
    ran = stages_run(project.run("dvc exp run -S mnist.optimizer=sgd"))
    assert ran == {"check", *(f"{verb}@mnist" for verb in ("train", "evaluate", "plot", "export", "deploy"))}
    assert project.json("reports/mnist/metrics.json")["accuracy"] > 0.9  # its learning rate followed
    shown = project.run("dvc metrics diff")
    assert re.search(r"reports/mnist/metrics.json\s+accuracy", shown)
    assert "bikes" not in shown
    assert "mnist.optimizer" in project.run("dvc params diff")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("+mnist.optimiser=sgd", "mnist.optimiser is not a parameter (did you mean optimizer?"),
        pytest.param("mnist.optimiser=sgd", "optimiser", marks=pytest.mark.long),
        pytest.param("data.source=", "data.source", marks=pytest.mark.long),
        pytest.param("data.source=oficial", "'oficial' is not allowed: there is no folder ", marks=pytest.mark.long),
    ],
)
def test_a_bad_value_stops_at_once_and_loses_nothing(project: Checkout, setting: str, words: str) -> None:
    output = project.run(f"dvc exp run -S '{setting}'", check=False)
    assert project.returncode != 0
    assert words in output
    assert stages_run(output) <= {"check"}
    assert "Traceback" not in output
    for path in RESULTS:
        assert (project.root / path).is_file(), path
    project.restore()
    assert stages_run(project.run("dvc repro")) <= {"check"}


def test_a_stage_runs_without_dvc(project: Checkout) -> None:
    before = project.hashes()
    project.run("python -m stages.mnist.prepare && python -m stages.mnist.featurize && python -m stages.mnist.evaluate")
    project.run("dvc commit --force featurize@mnist && dvc commit --force evaluate@mnist")
    assert project.hashes() == before


@pytest.mark.parametrize("way", ["--temp", pytest.param("--queue", marks=pytest.mark.long)])
def test_a_path_is_a_source_in_dvc_s_temporary_copies_too(project: Checkout, way: str) -> None:
    folder = project.root.parent / "sets/mnist"
    folder.mkdir(parents=True, exist_ok=True)
    sample.write(folder)
    project.run(f"dvc exp run {way} --force --name other -S data.source=../sets featurize@mnist")
    if way == "--queue":
        project.run("dvc exp run --run-all")
    about = json.loads(dvc.api.read("data/mnist/features/about.json", repo=str(project.root), rev="other"))
    assert about["source"] == "../sets"
    project.run("dvc exp remove other")


@pytest.mark.long
def test_the_same_inputs_give_the_same_results(built: Checkout, tmp_path: Path) -> None:
    """Built once more from nothing, one project after the other."""
    other = clone(tmp_path)
    other.run("dvc repro " + " ".join(f"deploy@{name} plot@{name}" for name in projects.names()))
    assert built.hashes() == other.hashes()
