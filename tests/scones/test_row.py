"""The row scones from its sample to an export: its programs run for real, with tiny networks."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from checkouts import set_parameters
from conftest import ROOT, Change
from small_photographs import contents
from small_vehicles import TINY, make, write_vehicles

from stages.common import files
from stages.common.errors import InputError
from stages.common.training import distributed
from stages.common.vision import calibration, classifiers
from stages.engine.sagemaker import job, script
from stages.scones import evaluate, export, featurize, inference, layout, model, plot, prepare, train
from stages.scones.feedback import monitor
from stages.scones.learning import augmentation
from stages.serving import process


@pytest.fixture
def change(change: Change) -> Change:
    """Changes parameters of a workspace with features and a tiny network."""
    write_vehicles(train.FEATURES)
    change(TINY)
    return change


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project root in which a tiny network was trained, evaluated, plotted and exported."""
    return make(tmp_path_factory.mktemp("made"), {})


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    shutil.copytree(made, root)
    monkeypatch.chdir(root)
    return root


def test_the_stages_from_features_to_export(project: Path) -> None:
    metrics = files.read_json(Path("reports/scones/metrics.json"))
    assert metrics["data"] == "a test"
    assert metrics["accuracy"] > 0.8
    assert set(metrics) == {"data", "accuracy", "loss"}
    details = files.read_json(Path("reports/scones/details.json"))
    assert details["threshold"] == 0.94
    assert {"share_at_threshold", "accuracy_at_threshold", "calibration_error"} <= set(details)
    assert {"temperature", "valid_accuracy"} <= set(details)
    assert {"refused_share", "auroc_digits", "auroc_photographs", "auroc_textures", "known_method"} <= set(details)
    trained = ["0/epochs.csv", "0/steps.csv", "0/weights.pt", "known.npz", "network.json", "settings.json"]
    assert sorted(contents(model.TRAINED)) == trained
    exported = ["known.npz", "model.onnx", "model.pt", "model.pt2", "model.tar.gz", "model_card.md"]
    assert sorted(contents(export.EXPORT)) == exported
    plots = {"pictures", "augmentation", "history_1", "confusion_matrix", "reliability", "coverage", "mistakes"}
    assert {path.stem for path in plot.PLOTS.iterdir()} == plots
    assert len(Path("reports/scones/confusion.csv").read_text().splitlines()) == 21
    set_parameters(Path("params.yaml"), {"data.scones.classes": ["bus", "train"]})  # the next model's
    assert monitor.class_names() == ["bicycle", "motorcycle"]


def test_the_sample_becomes_features_that_training_takes(workspace: Path) -> None:
    prepare.main()
    featurize.main()
    with np.load(train.FEATURES / "valid.npz") as valid:
        assert valid["images"].shape == (80, 32, 32, 3)


@pytest.mark.parametrize("network", ["residual", "transfer"])
def test_training_twice_gives_the_same_bytes(change: Change, network: str) -> None:
    change({"scones.network": network, "scones.epochs": 2})
    train.main()
    first = contents(model.TRAINED)
    train.main()
    assert contents(model.TRAINED) == first


def test_a_stopped_run_resumes_and_ends_with_the_same_bytes(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = contents(model.TRAINED)
    shutil.rmtree(model.TRAINED)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(calibration, "fit", Mock(side_effect=KeyboardInterrupt))
        train.main()
    seen = Mock(wraps=augmentation.augmented)
    monkeypatch.setattr(train, "augmented", seen)
    train.main()  # from the checkpoint: nothing is left to be trained
    assert contents(model.TRAINED) == whole
    assert not seen.called


def test_the_export_answers_a_png_with_an_array_of_probabilities(project: Path) -> None:
    evaluation = Path("reports/scones/evaluation")
    expected, familiar = (np.load(evaluation / f"{name}.npy") for name in ("probabilities", "familiarity"))
    with np.load(train.FEATURES / "test.npz") as test:
        pictures = [layout.png(image) for image in test["images"]]
    with process.serve(export.EXPORT / "model.tar.gz") as endpoint:
        for picture, probabilities, measured in list(zip(pictures, expected, familiar, strict=True))[:5]:
            answer = json.loads(endpoint.invoke(picture, "image/png").body)
            assert isinstance(answer, list)
            assert np.abs(np.array(answer) - probabilities).max() < 1e-5
            verbose = json.loads(endpoint.invoke(picture, "image/png", "application/json; verbose=true").body)
            assert verbose["classes"] == ["bicycle", "motorcycle"]
            assert verbose["probabilities"] == [answer]
            (familiarity,) = verbose["familiarity"]
            assert familiarity == pytest.approx(measured, abs=1e-4)
            assert verbose["known"] == [familiarity >= 0]
        with pytest.raises(InputError, match="it is not a JPEG, PNG"):
            endpoint.invoke(b"not a picture", "image/png")


def test_an_export_of_another_model_is_refused(project: Path) -> None:
    shutil.rmtree(export.EXPORT)
    stored = Path("reports/scones/evaluation/probabilities.npy")
    np.save(stored, np.load(stored)[:, ::-1])
    with pytest.raises(InputError, match="20 of 20 test images get another class"):
        export.main()
    assert not export.EXPORT.exists()


@pytest.mark.parametrize(
    ("body", "content_type", "words"),
    [
        (b"", "image/png", "the file is empty"),
        (b"{}", "application/json", "content type 'application/json' is not known"),
    ],
)
def test_a_request_without_a_picture_is_refused_with_a_message(body: bytes, content_type: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        inference.input_fn(body, content_type)


def test_coverage_counts_the_threshold_itself() -> None:
    probabilities = np.array([[0.94, 0.06], [0.5, 0.5], [0.02, 0.98]], np.float32)
    labels = np.array([0, 0, 0])
    # 0.94 is a little less as float32, and so it is in the JSON that the workflow reads.
    assert evaluate.coverage(probabilities, labels, 0.94) == (1 / 3, 0.0)
    assert evaluate.coverage(probabilities, labels, 0.5) == (1.0, 2 / 3)
    assert evaluate.coverage(probabilities, labels, 1.0) == (0.0, None)
    rows = evaluate.curve(probabilities, labels)
    assert (rows[0]["threshold"], rows[-1]["threshold"], rows[-1]["accuracy"]) == (0.5, 1.0, "")


def test_unaugmented_training_inputs_equal_prediction_inputs(change: Change) -> None:
    amounts = ("rotation", "scale", "shift", "brightness", "contrast", "saturation", "erase")
    still = {**dict.fromkeys(amounts, 0), "flip": False}
    change({"scones.augmentation": still, "scones.residual.image_size": 64, "scones.views": "one", "scones.epochs": 1})
    train.main()
    classifier = model.load()
    member = classifier.members[0]
    assert isinstance(member, classifiers.Member)
    seen: list[torch.Tensor] = []
    member.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with np.load(train.FEATURES / "test.npz") as test:
        images = torch.from_numpy(test["images"])
    model.predict(classifier, images)
    trained = augmentation.augmented(images, member, still, torch.Generator())
    # Predicting enlarges bytes to bytes, which rounds twice.
    assert (trained - seen[0]).abs().max() <= 1.1 / 255 / member.std.min()


def train_in_two_processes(folder: Path) -> subprocess.CompletedProcess[str]:
    """As a job on SageMaker does, with its code; the model goes to ``folder``."""
    job.stage_code(folder / "code", "scones")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command.append(str(job.SCRIPT.relative_to(ROOT)))
    environment = {**os.environ, "SM_MODEL_DIR": str(folder), "SM_CHANNEL_FEATURES": str(train.FEATURES.absolute())}
    return subprocess.run(command, cwd=folder / "code", env=environment, capture_output=True, text=True, check=False)


@pytest.mark.long
def test_two_processes_train_the_same_as_one(change: Change, workspace: Path, tmp_path: Path) -> None:
    change({"scones.epochs": 2, "scones.label_smoothing": 0.1})
    change({"scones.adamw.learning_rate": 0.001, "scones.residual.dropout": 0.3})
    train.main()
    alone = torch.load(model.TRAINED / "0/weights.pt", weights_only=True)
    done = train_in_two_processes(tmp_path)
    assert done.returncode == 0, done.stderr
    together = torch.load(tmp_path / "trained" / "0/weights.pt", weights_only=True)
    assert together.keys() == alone.keys()
    for name, weights in alone.items():
        torch.testing.assert_close(together[name], weights, rtol=1e-3, atol=1e-4, msg=name)


REFUSED = "scones.batch_size = 9 cannot be shared by 2 processes"


def test_a_batch_that_processes_can_t_share_is_refused(
    change: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the process that is left over says it."""
    change({"scones.batch_size": 9})
    job.stage_code(tmp_path / "code", "scones")
    monkeypatch.setenv("SM_CHANNEL_FEATURES", str(train.FEATURES.absolute()))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(distributed, "group", lambda batch_size: nullcontext(False))
    monkeypatch.chdir(tmp_path / "code")
    with pytest.raises(InputError, match=REFUSED):
        script.main()


@pytest.mark.long
def test_processes_that_can_t_share_a_batch_end(change: Change, tmp_path: Path) -> None:
    change({"scones.batch_size": 9})
    done = train_in_two_processes(tmp_path)
    assert done.returncode != 0
    assert REFUSED in done.stderr
