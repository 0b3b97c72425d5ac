"""Projects side by side: a failure stops its own project alone, an interrupt stops all; equal results: see test_pipeline."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkouts import Checkout, processes_in, with_results

pytestmark = pytest.mark.slow

REPRO = "python -m stages.experiments.repro --jobs 2"


@pytest.fixture(scope="module")
def built(pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return with_results(tmp_path_factory.mktemp("side-by-side"))


@pytest.fixture
def project(built: Checkout) -> Iterator[Checkout]:
    yield built
    built.restore()


def change(project: Checkout, before: str, after: str) -> None:
    parameters = project.root / "params.yaml"
    text = parameters.read_text()
    assert before in text
    parameters.write_text(text.replace(before, after, 1))


@pytest.mark.long
def test_a_project_that_fails_is_named_and_the_others_are_done(project: Checkout, tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()
    change(project, "mnist:\n    source:", f"mnist:\n    source: {tmp_path}/mnist")
    shown = project.run(REPRO, check=False)
    assert project.returncode == 1
    assert "mnist     | error: " in shown
    assert shown.count("error: mnist failed, see above: fix the error, then run the same command to resume") == 1
    for other in ("bikes", "landmarks", "scones"):
        assert f"{other:9} | up to date" in shown
    project.restore()
    project.run(REPRO)
    assert project.run("git status --porcelain") == ""


def test_a_bad_parameter_stops_before_any_project(project: Checkout) -> None:
    change(project, "optimizer: adam ", "optimizer: sdg ")
    shown = project.run(REPRO, check=False)
    assert project.returncode == 1
    assert "mnist.optimizer = 'sdg' is not allowed" in shown
    assert " | " not in shown


def test_an_interrupt_ends_everything_and_the_next_run_goes_on(project: Checkout) -> None:
    change(project, "  seed: 0\n  epochs: 15", "  seed: 0\n  epochs: 5000")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", "stages.experiments.repro", "--jobs", "2"]
    with subprocess.Popen(command, cwd=project.root, env=environment, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        for line in running.stdout:
            if "mnist     | train: started" in line:
                break
        time.sleep(1)
        running.send_signal(signal.SIGTERM)  # taken as Ctrl-C is
        running.stdout.read()
    assert running.returncode == 130
    assert processes_in(project.root) == []
    project.restore()
    project.run(REPRO)
    assert "up to date" in project.run("dvc status")
