"""The row mnist, its programs run for real on small data."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from checkouts import QUICK
from conftest import ROOT, Change, Run

from stages import check
from stages.common import files
from stages.common.errors import InputError
from stages.experiments.records.revisions import Revision
from stages.mnist import deploy, evaluate, export, featurize, plot, prepare, train
from stages.mnist.learning import acceptance, second, state_dict

TRAINED = Path("models/mnist/trained")


@pytest.fixture
def features(workspace: Path, change: Change) -> Path:
    change(QUICK)
    prepare.main()
    featurize.main()
    return workspace / "data/mnist/features"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_all_stages_run_on_the_sample(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `dvc repro` has made here of this code."""
    monkeypatch.chdir(pipeline)
    metrics = files.read_json(Path("reports/mnist/metrics.json"))
    assert set(metrics) == {"data", "accuracy", "loss"}
    details = files.read_json(Path("reports/mnist/details.json"))
    assert details["parameters"] == 109386
    assert 0 <= details["calibration_error"] < 0.2
    assert metrics["data"] == "sample"
    assert metrics["accuracy"] > 0.94
    served = files.read_json(Path("reports/mnist/deploy.json"))
    answers = {"accuracy": metrics["accuracy"], "known": round(1000 * (1 - details["refused_share"]))}
    assert served == {"version": None, "data": "sample", "rows": 1000, **answers}
    assert details["refused_share"] <= 0.01
    assert details["auroc_letters"] > 0.95
    assert details["auroc_touching"] > 0.98
    trained = "0/epochs.csv 0/steps.csv 0/weights.pt limits.json network.json second.pt settings.json"
    assert " ".join(contents(TRAINED)) == trained
    assert set(torch.load(TRAINED / "0/weights.pt", weights_only=True)) >= {"1.weight", "1.bias"}
    exported = "limits.json model.onnx model.pt model.pt2 model.tar.gz model_card.md second.pt"
    assert " ".join(contents(Path("models/mnist/export"))) == exported
    plots = "confusion_matrix.png digits.png history_1.png mistakes.png reliability.png"
    assert " ".join(contents(Path("reports/mnist/plots"))) == plots
    rows = Path("reports/mnist/confusion.csv").read_text().splitlines()
    assert rows[0] == "actual,predicted"
    assert len(rows) == 1001


@pytest.mark.parametrize("network", ["mlp", "cnn"])
def test_sgd_alone_learns_as_well_and_train_never_looks_at_the_test_set(
    features: Path, change: Change, network: str
) -> None:
    test = (features / "test.npz").rename("test.npz")
    change({"mnist.optimizer": "sgd", "mnist.network": network, "mnist.cnn.width": 8, "mnist.epochs": 3})
    train.main()
    test.rename(features / "test.npz")
    evaluate.main()
    assert files.read_json(Path("reports/mnist/metrics.json"))["accuracy"] > 0.85


def test_a_killed_training_resumes_and_ends_with_the_same_bytes(
    features: Path, workspace: Path, change: Change, python: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    mlp = {"hidden": [64], "dropout": 0.2, "batch_norm": True}
    change({"mnist.epochs": 15, "mnist.augment": True, "mnist.mlp": mlp})
    train.main()
    shown = capfd.readouterr().err
    for words in ("mnist mlp", "100%", "images/s", "loss=", "accuracy=", "lr="):
        assert words in shown
    whole = contents(TRAINED)

    (TRAINED / "0/weights.pt").unlink()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    victim = subprocess.Popen([sys.executable, "-m", "stages.mnist.train"], env=environment, stderr=subprocess.DEVNULL)
    checkpoints = workspace / "models" / "checkpoints"
    deadline = time.monotonic() + 600
    while not list(checkpoints.rglob("[!.]*.pt")) and time.monotonic() < deadline:
        time.sleep(0.005)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert not (TRAINED / "0/weights.pt").exists(), "killed too late"
    assert 0 < len(torch.load(next(checkpoints.rglob("[!.]*.pt")), weights_only=True)["trained"]["epochs"]) < 15

    assert python("-m", "stages.mnist.train", cwd=workspace).returncode == 0
    assert contents(TRAINED) == whole
    assert not list(checkpoints.rglob("*.pt"))


def test_the_second_network_is_kept_for_trainings_with_its_data_and_settings(
    features: Path, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    change({"mnist.epochs": 1})
    train.main()
    first = contents(TRAINED)
    with monkeypatch.context() as patched:
        patched.setattr(second, "train", Mock(side_effect=AssertionError("the second network was trained again")))
        change({"mnist.optimizer": "sgd"})
        train.main()
        again = contents(TRAINED)
        assert again["second.pt"] == first["second.pt"]
        assert again["0/weights.pt"] != first["0/weights.pt"]
        change({"mnist.seed": 7})
        with pytest.raises(AssertionError, match="trained again"):
            train.main()
    train.main()
    assert contents(TRAINED)["second.pt"] != first["second.pt"]
    monkeypatch.setattr(acceptance, "NEWEST", 1)
    change({"mnist.seed": 8})
    train.main()
    assert len(list(Path("models/checkpoints/mnist").iterdir())) == 1


def test_weights_of_ones_own_are_measured_as_they_are_and_trained_on(
    features: Path, change: Change, capsys: pytest.CaptureFixture[str]
) -> None:
    change({"mnist.mlp.hidden": [32, 16], "mnist.epochs": 2})
    train.main()
    state_dict.main(Path("net.pth"))
    with np.load(features / "test.npz") as test:
        images, labels = torch.from_numpy(test["images"]), torch.from_numpy(test["labels"])
    net = torch.nn.Module()  # as another program defines it
    net.fc1, net.fc2, net.fc3 = torch.nn.Linear(784, 32), torch.nn.Linear(32, 16), torch.nn.Linear(16, 10)
    net.load_state_dict(torch.load("net.pth", weights_only=True))
    pixels = (images.flatten(1) / 255 - 0.1307) / 0.3081
    answers = net.fc3(net.fc2(net.fc1(pixels).relu()).relu()).argmax(1)

    change({"mnist.epochs": 0, "mnist.weights": "net.pth"})
    check.main()
    for stage in (train, evaluate, plot, export):
        stage.main()
    assert "mnist mlp: initial weights of net.pth: 6 tensors, fc1 -> 1, fc2 -> 3, fc3 -> 5" in capsys.readouterr().out
    accuracy = files.read_json(Path("reports/mnist/metrics.json"))["accuracy"]
    assert accuracy == pytest.approx((answers == labels).float().mean().item())
    card = Path("models/mnist/export/model_card.md").read_text()
    for words in ("the user's own. This project has not trained them", "`net.pth`", files.digest(Path("net.pth"))):
        assert words in card
    assert "trained from scratch" not in card
    assert [row["epoch"] for row in csv.DictReader((TRAINED / "0/epochs.csv").open())] == ["0"]
    assert files.read_json(TRAINED / "network.json")["members"][0]["parameters_trained"] == 0

    change({"mnist.epochs": 1})
    train.main()
    first = next(csv.DictReader((TRAINED / "0/epochs.csv").open()))
    assert float(first["valid_accuracy"]) > 0.5

    for changes, words in (
        ({"mnist.epochs": 0, "mnist.weights": "none"}, "mnist.epochs = 0 is not allowed without all weights"),
        ({"mnist.weights": "other.pth"}, "weights = 'other.pth': there is no such file"),
        ({"mnist.weights": "net.pth", "mnist.mlp.hidden": [16]}, "can't be used"),
    ):
        change(changes)
        with pytest.raises(InputError, match=words):
            check.main()


def test_export_refuses_an_evaluation_of_another_model(features: Path, change: Change) -> None:
    change({"mnist.epochs": 1})
    train.main()
    evaluate.main()
    change({"mnist.seed": 1})
    train.main()
    with pytest.raises(Exception, match="expected evaluate's within"):
        export.main()
    assert not Path("models/mnist/export").exists()


@pytest.mark.parametrize("images", [1, pytest.param(5, marks=pytest.mark.long)])
def test_a_few_test_images_are_enough(features: Path, change: Change, images: int) -> None:
    with np.load(features / "test.npz") as test:
        few = {name: array[:images] for name, array in test.items()}
    np.savez(features / "test.npz", **few)
    change({"mnist.epochs": 1})
    for stage in (train, evaluate, plot, export):
        stage.main()


@pytest.mark.slow
def test_one_epoch_on_the_real_data(workspace: Path, real_data: Path, change: Change) -> None:
    change(QUICK | {"data.source": str(real_data), "mnist.epochs": 1})
    for stage in (prepare, featurize, train, evaluate, plot, export, deploy):
        stage.main()
    metrics = files.read_json(Path("reports/mnist/metrics.json"))
    assert metrics["data"] == str(real_data)
    assert metrics["accuracy"] > 0.95
    assert set(Revision().latency("mnist")) == {"one", "batch"}
