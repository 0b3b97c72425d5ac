"""bikes on a Ray cluster: what AutoGluon trains there side by side is what it trains here one after the other."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Run
from small_bikes import set_parameters

from stages.bikes import evaluate, featurize, train
from stages.bikes.learners import LightGBM, Linear
from stages.bikes.model import TRAINED
from stages.cluster.local import Running
from stages.common import config
from stages.common.errors import InputError
from stages.engine.config import Engine
from stages.engine.ray import cluster, libraries

pytestmark = pytest.mark.slow

BAGGED: dict[str, Any] = {
    "models": ["lightgbm"],
    "riders": "together",
    "bag_folds": 3,
    "search": {"trials": 2, "scheduler": "local", "searcher": "random"},
}


ENGINE = {**yaml.safe_load((ROOT / "params.yaml").read_text())["engine"], "kind": "ray"}


@pytest.fixture
def address(cluster: Running) -> str:
    return cluster.address


def trained(root: Path, engine: dict[str, Any], **bikes: Any) -> dict[str, bytes]:
    """All that evaluate says of the models that were trained with these parameters."""
    set_parameters(root, **bikes)
    parameters = yaml.safe_load((root / "params.yaml").read_text())
    parameters["engine"] |= engine
    (root / "params.yaml").write_text(yaml.safe_dump(parameters))
    for stage in (featurize, train, evaluate):
        stage.main()
    return {path.name: path.read_bytes() for path in evaluate.EVALUATION.iterdir()}


SEVERAL: dict[str, Any] = {"models": ["linear", "lightgbm", "sequence"], "riders": "together"}


@pytest.mark.parametrize("bikes", [SEVERAL, BAGGED], ids=["models", "bagged and searched"])
@pytest.mark.long
def test_a_cluster_trains_the_very_models(
    untrained: Path, address: str, python: Run, monkeypatch: pytest.MonkeyPatch, bikes: dict[str, Any]
) -> None:
    here = trained(untrained, {"kind": "local"}, **bikes)

    def program() -> None:  # whose own classes nodes can't import
        done = python("-m", "stages.bikes.train")
        assert done.returncode == 0, done.stderr

    monkeypatch.setattr(train, "main", program)
    there = trained(untrained, {"kind": "ray", "address": address}, **bikes)
    assert {"leaderboard.csv", "settings.json", "validation.csv"} <= set(here)
    assert there == here


def test_more_threads_than_a_worker_has_cores_are_refused(untrained: Path) -> None:
    with pytest.raises(InputError, match=r"engine\.cpus_per_worker = 1 is too small for work that takes 2 threads"):
        trained(untrained, {"kind": "ray", "cpus_per_worker": 1}, models=["linear"], threads=2)


def test_a_folder_that_a_node_does_not_see_is_named(address: str) -> None:
    own = Path(f"/proc/self/task/{os.getpid()}")  # there for this process alone
    assert own.is_dir()
    with cluster.connected(config.load("engine", Engine, {"engine": {**ENGINE, "address": address}})):
        libraries.check_seen(Path("/tmp"), 60)
        words = r"nodes 127\.0\.0\.1.* do not see /proc/self.*: put the working folder on a disk"
        with pytest.raises(InputError, match=words):
            libraries.check_seen(own, 60)


@pytest.mark.long
def test_what_a_cluster_leaves_out_is_an_error_with_its_reason(
    untrained: Path, monkeypatch: pytest.MonkeyPatch, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model whose settings its library refuses: those of `bikes` allow none, so they are changed behind its back."""
    monkeypatch.setattr(train, "hyperparameters", lambda _: {Linear: [{"alpha": "much"}], LightGBM: [{}]})
    engine = {"kind": "ray", "address": address}
    words = "the cluster trained 1 of 2 models of count: Skipping Linear due to exception: .*alpha"
    with pytest.raises(InputError, match=words):
        trained(untrained, engine, models=["linear", "lightgbm"], riders="together")
    assert "count: LightGBM (" in capsys.readouterr().out
    assert not TRAINED.exists()
