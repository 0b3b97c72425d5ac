"""An ensemble of mnist: the mean of several networks' probabilities."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkouts import QUICK
from conftest import ROOT, Change

from stages import check
from stages.common import config, files
from stages.common.errors import InputError
from stages.common.training import ensemble as ensembles
from stages.mnist import deploy, evaluate, export, featurize, model, plot, prepare, train
from stages.mnist.config import Train
from stages.mnist.feedback import served
from stages.mnist.learning import state_dict

MEMBERS: list[dict[str, Any]] = [
    {"network": "mlp", "mlp": {"hidden": [32, 16]}},
    {"network": "cnn", "cnn": {"width": 4, "depth": 1, "kernel": 5}, "epochs": 1, "batch_size": 128},
    {"network": "mlp", "seed": 1, "optimizer": "sgd"},
]


@pytest.fixture
def ensemble(workspace: Path, change: Change) -> Change:
    change(QUICK | {"mnist.epochs": 2, "mnist.network": "ensemble", "mnist.ensemble.members": MEMBERS})
    prepare.main()
    featurize.main()
    return change


def test_an_ensemble_is_served_as_it_was_measured_and_each_network_has_its_scores(
    ensemble: Change, capfd: pytest.CaptureFixture[str]
) -> None:
    check.main()
    for stage in (train, evaluate, plot, export, deploy):
        stage.main()
    assert "mnist cnn 2/3" in capfd.readouterr().err
    assert not list(Path("models/checkpoints").rglob("*.pt"))

    probabilities = np.load("reports/mnist/evaluation/probabilities.npy")
    with np.load("data/mnist/features/test.npz") as test:
        images, labels = torch.from_numpy(test["images"]), test["labels"]
    networks = [model.Classifier(network).eval() for network in model.load(measured=True).networks]  # type: ignore[arg-type]
    alone = [model.predict(network, images).numpy() for network in networks]
    assert np.allclose(probabilities, np.mean(alone, 0), atol=1e-6)

    details = files.read_json(Path("reports/mnist/details.json"))
    assert details["errors"] == (probabilities.argmax(1) != labels).sum()
    errors = [int((one.argmax(1) != labels).sum()) for one in alone]
    with Path("reports/mnist/evaluation/members.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["network"], int(row["errors"])) for row in rows] == list(
        zip(["mlp", "cnn", "mlp"], errors, strict=True)
    )
    assert details["parameters"] == sum(int(row["parameters"]) for row in rows)
    found = [details[name] for name in ("members_lowest", "members_accuracy", "members_highest")]
    accuracies = [1 - count / len(labels) for count in errors]
    assert found == pytest.approx([min(accuracies), sum(accuracies) / 3, max(accuracies)], abs=1e-6)

    served_accuracy = files.read_json(Path("reports/mnist/deploy.json"))["accuracy"]
    assert served_accuracy == files.read_json(Path("reports/mnist/metrics.json"))["accuracy"]
    assert {path.stem for path in Path("reports/mnist/plots").iterdir()} >= {"history_1", "history_2", "history_3"}
    assert "the mean of several networks" in Path("models/mnist/export/model_card.md").read_text()
    embedding = served.measured(images.numpy()[:2]).embedding
    assert embedding is not None
    assert embedding.shape == (2, 16 + 16 + 64)
    with pytest.raises(InputError, match="has 3 networks: expected one, not mnist.network: ensemble"):
        state_dict.main(Path("net.pth"))
    assert not Path("net.pth").exists()


def test_a_member_by_itself_is_the_same_network(ensemble: Change) -> None:
    train.main()
    together = torch.load("models/mnist/trained/1/weights.pt", weights_only=True)
    ensemble({"mnist.network": "cnn", **{f"mnist.{name}": value for name, value in FLAT.items()}})
    train.main()
    alone = torch.load("models/mnist/trained/0/weights.pt", weights_only=True)
    assert all(torch.equal(value, together[name]) for name, value in alone.items())


FLAT = {"cnn.width": 4, "cnn.depth": 1, "cnn.kernel": 5, "epochs": 1, "batch_size": 128}
"""The changes of the second member, by their names."""


def test_processes_share_a_batch_that_divides_those_of_all_members() -> None:
    settings = config.load("mnist", Train, config.read(ROOT / "params.yaml"))
    changes = {
        "network": "ensemble",
        "ensemble": {"members": [{"network": "cnn", "batch_size": 96}, {"network": "mlp"}]},
    }
    together = config.check("mnist", Train, config.merged(settings.model_dump(), changes))
    assert (settings.batch_size, together.batch_size, ensembles.batch_size("mnist", together)) == (64, 64, 32)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([], r"mnist.ensemble.members = \[\] is not allowed: expected at least one, such as {network: mlp}"),
        (
            [{"network": "ensemble"}],
            r"members\[0\].network = 'ensemble' is not allowed: each member needs 'mlp' or 'cnn'",
        ),
        ([{"network": "cnn", "cnn": {"kernel": 4}}], r"members\[0\].cnn.kernel = 4 is not allowed: expected 3, 5 or 7"),
        (
            [{"network": "mlp"}, {"network": "mlp"}],
            r"members\[1\] is not allowed: it is the same network as members\[0\]",
        ),
        ([{"network": "mlp", "weights": "none.pth"}], "weights = 'none.pth': there is no such file"),
    ],
)
def test_a_member_that_train_would_refuse_is_refused_by_the_guard(
    workspace: Path, change: Change, members: list[Any], words: str
) -> None:
    change({"mnist.network": "ensemble", "mnist.ensemble.members": members})
    with pytest.raises(InputError, match=words):
        check.main()
