"""An ensemble of scones: the calibrated mean of several networks' probabilities."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from checkouts import set_parameters
from conftest import Change
from scipy.special import softmax
from small_photographs import contents
from small_vehicles import make

from stages import check
from stages.common import files
from stages.common.errors import InputError
from stages.common.vision import classifiers
from stages.scones import export, layout, model, plot, train
from stages.scones.feedback import served
from stages.scones.learning import augmentation
from stages.serving import process

MEMBERS: list[dict[str, Any]] = [
    {"network": "residual"},
    {"network": "residual", "seed": 1, "views": "one", "residual": {"image_size": 48}, "batch_size": 16},
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project root in which an ensemble was trained, evaluated, plotted and exported."""
    changes = {"scones.network": "ensemble", "scones.ensemble.members": MEMBERS, "scones.epochs": 2}
    return make(tmp_path_factory.mktemp("made"), changes)


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    shutil.copytree(made, root)
    monkeypatch.chdir(root)
    return root


def test_the_mean_of_the_members_is_what_evaluate_and_the_served_archive_answer(project: Path) -> None:
    evaluation, details = Path("reports/scones/evaluation"), files.read_json(Path("reports/scones/details.json"))
    probabilities, familiar = (np.load(evaluation / f"{name}.npy") for name in ("probabilities", "familiarity"))
    with np.load(train.FEATURES / "test.npz") as test:
        images, labels = test["images"], test["labels"]
    members = model.load(measured=True).members
    squares = model.squares(torch.from_numpy(images))
    alone = [model.predict(member, squares).numpy() for member in members]
    expected = softmax(np.log(np.mean(alone, 0)) / details["temperature"], 1)
    assert np.allclose(probabilities, expected, atol=1e-6)
    assert len({tuple(one.argmax(1)) for one in (*alone, probabilities)}) > 1

    with (evaluation / "members.csv").open() as file:
        rows = list(csv.DictReader(file))
    errors = [int((one.argmax(1) != labels).sum()) for one in alone]
    assert [(row["network"], int(row["errors"])) for row in rows] == list(
        zip([member["network"] for member in MEMBERS], errors, strict=True)
    )
    assert details["members_lowest"] == pytest.approx(1 - max(errors) / len(labels))
    assert details["parameters"] == sum(int(row["parameters"]) for row in rows)
    assert {path.stem for path in plot.PLOTS.iterdir()} >= {"history_1", "history_2"}
    assert "the mean of several networks" in (export.EXPORT / "model_card.md").read_text()

    with process.serve(export.EXPORT / "model.tar.gz") as endpoint:
        for image, own, measured in list(zip(images, probabilities, familiar, strict=True))[:5]:
            body = endpoint.invoke(layout.png(image), "image/png", "application/json; verbose=true").body
            answer = json.loads(body)
            assert np.abs(np.array(answer["probabilities"]) - own).max() < 1e-5
            assert answer["familiarity"] == [pytest.approx(measured, abs=1e-4)]


def test_drift_and_recognition_see_the_features_of_all_members(project: Path) -> None:
    members = [member for member in model.load().members if isinstance(member, classifiers.Member)]
    picture = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    sizes = [member.inspect(picture)[1].shape[1] for member in members]
    embedding = served.training().embedding
    assert embedding is not None
    assert embedding.shape == (48, sum(sizes))
    with np.load(model.TRAINED / model.KNOWN) as known:
        assert known["bank"].shape == (48, sum(sizes))


def test_an_interrupted_training_resumes_at_the_member_it_was_at(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = contents(model.TRAINED)
    shutil.rmtree(model.TRAINED)
    seen: list[int] = []

    def batch(images: torch.Tensor, member: classifiers.Member, *rest: Any) -> torch.Tensor:
        seen.append(member.image_size)
        if seen.count(48) == 5:  # in the second of its two epochs, each of three batches
            raise KeyboardInterrupt
        return augmentation.augmented(images, member, *rest)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(train, "augmented", batch)
        train.main()
    assert len(list(Path("models/checkpoints").rglob("*.pt"))) == 2
    resumed = Mock(wraps=augmentation.augmented)
    monkeypatch.setattr(train, "augmented", resumed)
    train.main()
    assert [call.args[1].image_size for call in resumed.call_args_list] == [48] * 3
    assert contents(model.TRAINED) == whole
    assert not list(Path("models/checkpoints").rglob("*.pt"))


def test_a_member_by_itself_is_the_same_network(project: Path) -> None:
    together = (model.TRAINED / "1" / "weights.pt").read_bytes()
    alone = {"network": "residual", "seed": 1, "views": "one", "residual.image_size": 48, "batch_size": 16}
    set_parameters(Path("params.yaml"), {f"scones.{name}": value for name, value in alone.items()})
    train.main()
    assert (model.TRAINED / "0" / "weights.pt").read_bytes() == together


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([], r"scones.ensemble.members = \[\] is not allowed: expected at least one, such as {network: residual}"),
        (
            [{"network": "ensemble"}],
            r"members\[0\].network = 'ensemble' is not allowed: each member needs 'residual' or",
        ),
        ([{"network": "residual", "residual": {"width": 0}}], r"scones.ensemble.members\[0\].residual.width = 0"),
        ([{"network": "residual"}] * 2, r"scones.ensemble.members\[1\] is not allowed: it is the same network as"),
        ([{"network": "transfer", "transfer": {"backbone": "none"}}], "scones.transfer: .*'none'"),
    ],
)
def test_a_member_that_train_would_refuse_is_refused_by_the_guard(
    workspace: Path, change: Change, members: list[Any], words: str
) -> None:
    change({"scones.network": "ensemble", "scones.ensemble.members": members})
    with pytest.raises(InputError, match=words):
        check.main()
