"""Where a run stands, from the lines that DVC and tqdm print; and the part of dvc.lock that a stage replaces."""

import copy
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import dumps_yaml

from stages.common import program
from stages.experiments.running import progress, quick_dvc
from stages.experiments.running.progress import ProjectProgress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time; a test sets it."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_time_left_adds_the_progress_bar_and_the_pending_stages(clock: list[float]) -> None:
    run = ProjectProgress("mnist", {"prepare@mnist": 10.0, "train@mnist": 40.0, "deploy@mnist": 20.0})
    assert run.left() == 70
    run.start()
    run.read("Running stage 'prepare@mnist':")
    clock[0] += 4
    assert run.left() == 66
    clock[0] += 26  # three times as long as expected
    run.read("Running stage 'train@mnist':")
    assert run.left() == 2 * 60  # between what was expected and what was seen
    run.read("mnist:   0%|          | 0/10 [00:00<?, ? images/s]")
    assert run.left() == 2 * 60
    run.read("mnist:  50%|█████     | 5/10 [00:30<01:30,  1.0 images/s]")
    assert run.left() == 90 + 2 * 20
    clock[0] += 80
    assert run.left() == 10 + 2 * 20
    assert run.share() == pytest.approx(110 / 160)
    run.read("mnist: 100%|██████████| 10/10 [01:50<00:00,  1.0 images/s]")
    assert run.left() == 2 * 20  # the bar is at its end, the stage is not


def test_stages_that_are_skipped_take_no_time() -> None:
    run = ProjectProgress("mnist", {"prepare@mnist": 10.0, "train@mnist": 40.0})
    run.start()
    assert run.read("Stage 'prepare@mnist' didn't change, skipping") is None
    assert run.left() == 40
    assert run.read("Stage 'train@mnist' is cached - skipping run, checking out outputs") is None
    assert run.end(False) == "up to date"


def test_a_duration_is_the_last_one_here_else_the_typical_one(workspace: Path) -> None:
    program.DURATIONS.mkdir(parents=True)
    (program.DURATIONS / "train@mnist.json").write_text(json.dumps({"seconds": 123.4}))
    typical = json.loads(progress.TYPICAL.read_text())
    assert progress.durations(["train@mnist", "plot@mnist", "plot@new"]) == {
        "train@mnist": 123.4,
        "plot@mnist": typical["plot@mnist"],
        "plot@new": progress.UNKNOWN,
    }


def test_one_stage_of_dvc_lock_is_replaced_with_dvc_s_own_bytes() -> None:
    parameters = {"rate": 1e-05, "none": None, "word": "null", "version": "2.0", "list": [1, [2, 3], {}], "": []}
    values: dict[str, Any] = {
        "cmd": "python -m " + "word " * 40,
        "params": {"p": parameters},
        "text": "ü: “x” # y\nz",
        "outs": [{"path": "a b", "size": 3}, {"path": "a" * 200}],
    }
    stages = {"check": values, "train@a": copy.deepcopy(values), "deploy@b": {"cmd": ["one", "two"]}}
    whole = dumps_yaml({"schema": "2.0", "stages": stages})
    text = quick_dvc.HEAD
    for name, content in stages.items():
        text = quick_dvc.with_stages(text, {name: content}) or ""
    assert text == whole
    other = {"train@a": {"cmd": "other"}}
    assert quick_dvc.with_stages(whole, other) == dumps_yaml({"schema": "2.0", "stages": stages | other})


@pytest.mark.parametrize("other", ["", "stages: {}\n", f"{quick_dvc.HEAD}  a:\n    cmd: b\ndatasets: []\n"])
def test_an_unusual_dvc_lock_is_left_to_dvc(other: str) -> None:
    assert quick_dvc.with_stages(other, {"a": {"cmd": "b"}}) is None


def test_workers_follow_the_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert 1 <= program.workers() == program.cores() <= len(os.sched_getaffinity(0))
    monkeypatch.setenv("OMP_NUM_THREADS", "3,1")
    assert program.workers() == 3
