"""The row landmarks, its programs run for real on small data."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from checkouts import make_workspace, set_parameters
from conftest import ROOT, Change, Run
from small_photographs import COLOURS, contents
from torch import nn
from torch.nn import functional as F

from stages import check
from stages.common import files
from stages.common.errors import InputError
from stages.common.vision import backbones
from stages.landmarks import deploy, evaluate, export, featurize, model, prepare, train
from stages.landmarks.learning import frozen
from stages.landmarks.model import TRAINED
from stages.landmarks.store import Store

SMALL: dict[str, object] = {
    "data.landmarks.size": 40,
    "data.landmarks.valid_fraction": 0.25,
    "landmarks.network": "residual",
    "landmarks.residual.image_size": 32,
    "landmarks.residual.width": 4,
    "landmarks.scratch": {"image_size": 32, "width": 0.02, "dropout": 0.0, "weights": "none"},
    "landmarks.transfer.backbone": "mobilenet_v3_small",
    "landmarks.transfer.image_size": 32,
    "landmarks.transfer.weights": "none",
    "landmarks.transfer.layers": [],
    "landmarks.transfer.views": 3,
    "landmarks.attention.image_size": 64,
    "landmarks.attention.layers": ["blocks.2", "blocks.6"],
    "landmarks.attention.views": 2,
    "landmarks.epochs": 3,
    "landmarks.batch_size": 8,
    "landmarks.precision": "float32",
    "landmarks.threads": 1,
    "deploy.landmarks.batch": 5,
}
"""Small networks."""

SEVERAL_KINDS: dict[str, object] = {
    "landmarks.network": "ensemble",
    "landmarks.views": "flip",
    "landmarks.ensemble.members": [
        {"network": "residual", "optimizer": "sgd", "schedule": "plateau", "keep": "best", "patience": 2},
        {
            "network": "residual",
            "seed": 1,
            "residual": {"image_size": 48, "train_scale": 0.75},
            "precision": "bfloat16",
            "augmentation": {"erase": 0.3},
        },
        {
            "network": "transfer",
            "epochs": 1,
            "transfer": {"backbone": "test_efficientnet", "layers": ["blocks.2"], "fine_tune": "blocks.3"},
        },
        {"network": "attention", "epochs": 1, "attention": {"heads": 2}},
    ],
}
"""One predictor of networks of several kinds: its export, which takes long, is made once for all of them."""


@pytest.fixture
def change(change: Change, photographs: Path) -> Change:
    """Changes parameters, which are at first those of small networks on the small photographs."""
    change(SMALL | {"data.landmarks.source": str(photographs)})
    return change


@pytest.fixture(scope="module")
def served(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project root in which `SEVERAL_KINDS` were trained, evaluated, exported and deployed."""
    root = tmp_path_factory.mktemp("served")
    make_workspace(root)
    set_parameters(root / "params.yaml", SMALL | SEVERAL_KINDS | {"data.landmarks.source": str(photographs)})
    with chdir(root):
        for stage in (prepare, featurize, train, evaluate, export, deploy):
            stage.main()
    return root


@pytest.fixture
def features(change: Change) -> Path:
    prepare.main()
    featurize.main()
    return Path("data/landmarks/features")


@pytest.mark.long
def test_the_whole_row(change: Change, workspace: Path, python: Run) -> None:
    change({"landmarks.epochs": 12})
    for verb in ("prepare", "featurize", "train", "evaluate", "plot", "export", "deploy"):
        done = python("-m", f"stages.landmarks.{verb}", cwd=workspace)
        assert done.returncode == 0, f"{verb}: {done.stderr}"
        if verb == "train":
            for words in ("landmarks residual", "100%", "images/s", "loss=", "accuracy=", "lr="):
                assert words in done.stderr
    metrics = files.read_json(Path("reports/landmarks/metrics.json"))
    assert metrics["accuracy"] > 0.8
    assert set(metrics) == {"data", "accuracy", "loss"}
    details = files.read_json(Path("reports/landmarks/details.json"))
    assert details["parameters"] == details["parameters_trained"]
    assert {"top5_accuracy", "calibration_error", "refused_share", "auroc_textures", "known_method"} <= set(details)
    served = files.read_json(Path("reports/landmarks/deploy.json"))
    known = round(12 * (1 - details["refused_share"]))
    rest = {"rows": 12, "accuracy": metrics["accuracy"], "known": known}
    assert served == {"version": None, "data": metrics["data"], **rest}
    trained = ["0/epochs.csv", "0/steps.csv", "0/weights.pt", "known.npz", "network.json", "settings.json"]
    assert sorted(contents(TRAINED)) == trained
    exported = ["known.npz", "model.onnx", "model.pt", "model.pt2", "model.tar.gz", "model_card.md"]
    assert sorted(contents(Path("models/landmarks/export"))) == exported
    assert len(Path("reports/landmarks/confusion.csv").read_text().splitlines()) == 13
    rows = Path("reports/landmarks/evaluation/classes.csv").read_text().splitlines()
    assert rows[0] == "class,images,precision,recall"
    assert [row.split(",")[0] for row in rows[1:]] == sorted(COLOURS)
    assert not list(Path("models/checkpoints").rglob("*.pt"))


def test_featurize_packs_each_part_and_measures_the_training_part(features: Path) -> None:
    stores = {part: Store(features, part) for part in ("train", "valid", "test")}
    assert {part: len(store) for part, store in stores.items()} == {"train": 27, "valid": 9, "test": 12}
    assert all(np.bincount(store.labels.numpy()).tolist() == [len(store) // 3] * 3 for store in stores.values())
    assert all(store.sizes.min(1).tolist() == [40] * len(store) for store in stores.values())
    pixels = np.concatenate([stores["train"].image(index).reshape(-1, 3) for index in range(27)]) / 255
    about = files.read_json(features / "about.json")
    assert about["mean"] == pytest.approx(pixels.mean(0), abs=2e-6)
    assert about["std"] == pytest.approx(pixels.std(0), abs=2e-6)
    assert [place["name"] for place in about["classes"]] == sorted(COLOURS)
    first = contents(features)
    featurize.main()
    assert contents(features) == first


def test_train_never_looks_at_the_test_photographs(features: Path) -> None:
    for path in features.glob("test.*"):
        path.unlink()
    train.main()
    assert (TRAINED / "0" / "weights.pt").exists()


def test_the_training_inputs_may_be_smaller_than_those_of_prediction(
    features: Path, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides: dict[bool, set[int]] = {True: set(), False: set()}

    def look(layer: nn.AdaptiveAvgPool2d, maps: torch.Tensor) -> torch.Tensor:
        sides[layer.training].add(maps.shape[3] * 16)  # behind a stride of 16
        return F.adaptive_avg_pool2d(maps, layer.output_size)

    monkeypatch.setattr(nn.AdaptiveAvgPool2d, "forward", look)
    change({"landmarks.residual.image_size": 64, "landmarks.residual.train_scale": 0.75, "landmarks.epochs": 1})
    train.main()
    assert sides == {True: {48}, False: {64}}


def test_networks_of_several_kinds_are_served_as_they_were_measured(served: Path) -> None:
    network = files.read_json(served / TRAINED / "network.json")
    assert len(network["members"]) == 4
    assert network["temperature"] != 1.0
    metrics = files.read_json(served / "reports/landmarks/metrics.json")
    assert files.read_json(served / "reports/landmarks/deploy.json")["accuracy"] == metrics["accuracy"]
    rows = (served / "reports/landmarks/evaluation/members.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["network", *(member["network"] for member in network["members"])]
    own = [float(row.split(",")[1]) for row in rows[1:]]
    details = files.read_json(served / "reports/landmarks/details.json")
    assert [details["members_lowest"], details["members_highest"]] == [min(own), max(own)]
    assert details["valid_accuracy"] == network["valid_accuracy"] > 0.5


@pytest.mark.long
@pytest.mark.parametrize(
    "settings",
    [
        {"network": "scratch"},
        {"network": "transfer"},
        {"network": "transfer", "transfer.layers": ["features.3", "features.8"], "transfer.hidden": 16},
        {"network": "transfer", "transfer.fine_tune": "features.9"},
        {"network": "transfer", "transfer.fine_tune": "all", "views": "flip", "crop": 0.8},
        {"network": "attention", "views": "flip"},
        {"network": "attention", "attention.image_size": 72, "attention.fine_tune": "blocks.5"},
    ],
    ids=lambda settings: " ".join(f"{value}" for value in settings.values())[:60],
)
def test_each_kind_of_network_by_itself_is_served_as_it_was_measured(
    features: Path, change: Change, settings: dict[str, Any]
) -> None:
    """The pipeline's own parameters have the kind that is missing: a frozen backbone with its weights, of several layers."""
    change({f"landmarks.{name}": value for name, value in settings.items()})
    train.main()
    evaluate.main()
    export.main()
    deploy.main()
    metrics = files.read_json(Path("reports/landmarks/metrics.json"))
    assert files.read_json(Path("reports/landmarks/deploy.json"))["accuracy"] == metrics["accuracy"]


@pytest.mark.parametrize("network", ["transfer", "attention"])
def test_a_frozen_backbone_runs_once_and_stays_unchanged(
    features: Path, change: Change, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, network: str
) -> None:
    torch.manual_seed(3)
    weights = torchvision.models.mobilenet_v3_small().state_dict()
    torch.save(weights, tmp_path / "weights.pth")
    own = {"backbone": "mobilenet_v3_small", "weights": str(tmp_path / "weights.pth")}
    changes = own | {"layers": ["features.3", "features.8"], "views": 2}
    change({"landmarks.network": network, **{f"landmarks.{network}.{name}": one for name, one in changes.items()}})
    train.main()
    trained = torch.load(TRAINED / "0" / "weights.pt", weights_only=True)
    kept = {name: value for name, value in trained.items() if name.startswith("backbone.")}
    assert len(kept) > 50
    assert all(torch.equal(value, weights[re.sub(r"^backbone\.(body\.)?", "", name)]) for name, value in kept.items())
    first = files.read_json(TRAINED / "network.json")["members"][0]
    assert first["parameters_trained"] < first["parameters"]

    def refuse(*_: object) -> None:
        raise AssertionError("the backbone was asked again")

    before = contents(TRAINED)
    monkeypatch.setattr(backbones.Transfer, "forward", refuse)
    monkeypatch.setattr(frozen.FrozenViews, "_training_inputs", refuse)
    adamw = {"learning_rate": 0.1, "weight_decay": 0.0}
    change({"landmarks.adamw": adamw, "landmarks.seed": 1, f"landmarks.{network}.hidden": 8})
    train.main()
    assert contents(TRAINED) != before
    assert len(list(Path("models/checkpoints/landmarks").glob("*.npy"))) == 2


def test_a_network_of_ones_own_is_measured_as_it_is(
    features: Path, change: Change, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(3)
    whole = torchvision.models.mobilenet_v3_small(num_classes=3).eval()
    torch.save(whole.state_dict(), "whole.pth")
    change({"landmarks.network": "transfer", "landmarks.transfer.weights": "whole.pth", "landmarks.epochs": 0})
    check.main()
    train.main()
    assert "landmarks transfer: initial weights of whole.pth: " in capsys.readouterr().out
    predictor, stored = model.load(), Store(Path("data/landmarks/features"), "test")
    with torch.no_grad():
        for squares in model.batches(predictor, stored):
            expected = whole(predictor.members[0].inputs(squares)).softmax(1)  # type: ignore[operator]
            assert torch.allclose(predictor.classify(squares), expected, atol=1e-5)
    frozen_features = set(Path("models/checkpoints/landmarks").glob("*.npy"))
    torch.save(torchvision.models.mobilenet_v3_small(num_classes=3).state_dict(), "whole.pth")
    train.main()
    assert not frozen_features & set(Path("models/checkpoints/landmarks").glob("*.npy"))
    torch.save(torchvision.models.mobilenet_v3_small(num_classes=4).state_dict(), "whole.pth")
    with pytest.raises(InputError, match=r"epochs = 0 is not allowed without all weights: .* of these classes"):
        train.main()
    torch.save({"features.0.0.weight": torch.zeros(3)}, "whole.pth")
    with pytest.raises(InputError, match=r"landmarks.transfer: weights 'whole.pth' can't be used"):
        check.main()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"backbone": "mobilnet_v2"}, ["'mobilnet_v2'", "expected one such as mobilenet_v2,"]),
        ({"weights": "package"}, ["mobilenet_v3_small", "tf_efficientnet_lite0, tf_efficientnet_lite2"]),
        ({"weights": "timm"}, ["'timm'", "mobilenet_v3_small, a network of torchvision"]),
        ({"backbone": "test_efficientnet", "weights": "torchvision"}, ["test_efficientnet, a network of timm"]),
        ({"weights": "nowhere.pth"}, ["nowhere.pth", "there is no such file"]),
        ({"layers": ["features.99"]}, ["'features.99'", "features.9"]),
        ({"fine_tune": "feature.9"}, ["'feature.9'", "features.9"]),
        ({"backbone": "vit_b_32"}, ["vit_b_32", "32 pixels"]),
    ],
)
def test_a_backbone_that_does_not_exist_is_refused_by_the_guard(
    change: Change, settings: dict[str, Any], words: list[str]
) -> None:
    change({"landmarks.network": "transfer", **{f"landmarks.transfer.{name}": one for name, one in settings.items()}})
    with pytest.raises(InputError) as refused:
        check.main()
    assert all(word in str(refused.value) for word in words), refused.value


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([], "at least one"),
        ([{"network": "ensemble"}], "'ensemble' is not allowed"),
        ([{"netwrok": "residual"}], "did you mean network"),
        ([{"network": "residual", "residual": {"width": 0}}], r"members\[0\].residual.width = 0"),
    ],
)
def test_a_member_that_cannot_be_is_refused(features: Path, change: Change, members: list[Any], words: str) -> None:
    change({"landmarks.network": "ensemble", "landmarks.ensemble.members": members})
    with pytest.raises(InputError, match=words):
        train.main()


@pytest.mark.long
def test_a_killed_training_resumes_and_ends_with_the_same_bytes(
    features: Path, workspace: Path, change: Change, python: Run
) -> None:
    change({"landmarks.epochs": 60, "landmarks.augmentation.erase": 0.2})
    assert python("-m", "stages.landmarks.train", cwd=workspace).returncode == 0
    whole = contents(TRAINED)
    shutil.rmtree(TRAINED)
    program, environment = [sys.executable, "-m", "stages.landmarks.train"], {**os.environ, "PYTHONPATH": str(ROOT)}
    victim = subprocess.Popen(program, env=environment, stderr=subprocess.DEVNULL)
    checkpoints = workspace / "models" / "checkpoints"
    deadline = time.monotonic() + 600
    while not list(checkpoints.rglob("[!.]*.pt")) and time.monotonic() < deadline:
        time.sleep(0.005)
    victim.kill()
    victim.wait()
    assert not TRAINED.exists(), "killed too late"
    assert 0 < len(torch.load(next(checkpoints.rglob("[!.]*.pt")), weights_only=True)["trained"]["epochs"]) < 60
    assert python("-m", "stages.landmarks.train", cwd=workspace).returncode == 0
    assert contents(TRAINED) == whole
    assert not list(checkpoints.rglob("*.pt"))


ALONE = """
import json, sys
import torch
sys.modules["stages"] = None
model = torch.jit.load("model.pt")
photographs = torch.load("photographs.pt", weights_only=True)
answers = [model(image[None])[0].tolist() for image in photographs]
program = torch.export.load("model.pt2").module()
print(json.dumps([answers, [program(image[None])[0].tolist() for image in photographs], model.top5(photographs[0][None])]))
"""


def test_both_forms_answer_with_torch_alone_for_photographs_of_any_size(served: Path, tmp_path: Path) -> None:
    for name in ("model.pt", "model.pt2"):
        shutil.copy(served / "models/landmarks/export" / name, tmp_path)
    generator = torch.Generator().manual_seed(0)
    sizes = [(40, 40), (40, 97), (200, 131), (33, 60), (1, 2), (600, 41)]
    photographs = [torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator) for size in sizes]
    torch.save(photographs, tmp_path / "photographs.pt")
    command = [sys.executable, "-I", "-W", "ignore", "-c", ALONE]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    script, program, top5 = json.loads(done.stdout)
    predictor = model.load(served / TRAINED)
    with torch.no_grad():
        expected = torch.stack([predictor(image[None])[0] for image in photographs])
    assert torch.allclose(torch.tensor(script), expected, atol=1e-6)
    assert torch.allclose(torch.tensor(program), expected, atol=1e-6)
    best = expected[0].topk(3)
    assert [name for name, _ in top5[0]] == [sorted(COLOURS)[label] for label in best.indices.tolist()]
    assert [value for _, value in top5[0]] == pytest.approx(best.values.tolist(), abs=1e-6)


def test_export_refuses_an_evaluation_of_another_model(features: Path, change: Change) -> None:
    train.main()
    evaluate.main()
    change({"landmarks.seed": 1})
    train.main()
    with pytest.raises(InputError, match="expected evaluate's within"):
        export.main()
    assert not Path("models/landmarks/export").exists()


@pytest.mark.long
def test_the_export_is_the_same_bytes_in_every_process_and_folder(
    features: Path, workspace: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    train.main()
    evaluate.main()
    found = []
    for seed in ("1", "2"):
        folder = tmp_path_factory.mktemp(f"clone{seed}") / ("deep" * int(seed))
        shutil.copytree(workspace, folder)
        shutil.copytree(ROOT / "stages", folder / "stages")
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(folder)}
        subprocess.run([sys.executable, "-m", "stages.landmarks.export"], cwd=folder, env=environment, check=True)
        found.append(contents(folder / "models/landmarks/export"))
    assert found[0] == found[1]
