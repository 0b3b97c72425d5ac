"""Trainings on a GPU: every kind of network, the same bytes twice, predictions on the CPU. Skipped without a GPU.

It uses nothing of the other tests, so a machine with torch and pytest can run it:
`python -m pytest --noconftest tests/common/test_gpu.py`
"""

import shutil
from contextlib import chdir
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from stages.common import clocks, config, files
from stages.common.training import torch_setup

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")

ROOT = Path(__file__).parents[2]

TRANSFER = {"image_size": 96, "layers": []}

NETWORKS: dict[str, tuple[dict[str, Any], float]] = {
    "mnist-mlp": ({"epochs": 3}, 0.8),
    "mnist-cnn": ({"network": "cnn", "epochs": 2, "ema_decay": 0.9}, 0.9),
    "scones-residual": ({"epochs": 4, "residual": {"image_size": 48}, "augmentation": {"erase": 0.3}}, 0.6),
    "landmarks-residual": ({"network": "residual", "epochs": 4, "views": "flip"}, 0.3),
    "landmarks-scratch": ({"network": "scratch", "scratch": {"image_size": 96, "width": 0.25}, "epochs": 2}, 0.05),
    "landmarks-frozen": ({"network": "transfer", "epochs": 4, "transfer": TRANSFER | {"views": 3}}, 0.6),
    "landmarks-attention": ({"network": "attention", "epochs": 4, "attention": {"image_size": 96}}, 0.6),
    "landmarks-tuned": ({"network": "transfer", "epochs": 2, "transfer": TRANSFER | {"fine_tune": "blocks.5"}}, 0.3),
}
"""By project and name: its changed parameters, and an accuracy on the sample's test part that luck does not reach."""


def run(project: str, step: str) -> None:
    import_module(f"stages.{project}.{step}").main()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the features of the three samples."""
    folder = tmp_path_factory.mktemp("gpu")
    shutil.copy(ROOT / "params.yaml", folder)
    shutil.copytree(ROOT / "metrics", folder / "metrics")
    with chdir(folder):
        for project in ("mnist", "scones", "landmarks"):
            run(project, "prepare")
            run(project, "featurize")
    return folder


@pytest.mark.parametrize("name", NETWORKS)
def test_a_gpu_trains_every_network_to_the_same_bytes_twice(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project, (changes, least) = name.partition("-")[0], NETWORKS[name]
    monkeypatch.chdir(place)
    parameters = config.read(ROOT / "params.yaml")
    changes = {"precision": "auto", "device": "auto"} | changes
    Path("params.yaml").write_text(yaml.safe_dump(config.merged(parameters, {project: changes})))
    digests = []
    for _ in range(2):
        shutil.rmtree(files.kept(), ignore_errors=True)  # a frozen backbone's features
        run(project, "train")
        digests.append(clocks.digest(Path("models", project, "trained")))
    assert digests[0] == digests[1]
    fast = torch.cuda.get_device_capability() >= (8, 0)
    chosen = "bfloat16" if fast else "float32"
    assert f"{project}: precision {chosen}, chosen for this cuda\n" in capsys.readouterr().out
    assert files.read_json(Path("models", project, "trained", "settings.json"))["precision"] == chosen
    readings = clocks.read(f"train@{project}", digests[0])
    assert readings["device"] == torch.cuda.get_device_name()
    assert not readings["portable"]
    run(project, "evaluate")
    assert files.read_json(Path("reports", project, "metrics.json"))["accuracy"] > least


def test_float32_is_not_rounded_on_a_gpu() -> None:
    torch_setup.deterministic(0, None)
    generator = torch.Generator().manual_seed(0)
    images, weight = torch.randn(8, 64, 16, 16, generator=generator), torch.randn(64, 64, 3, 3, generator=generator)
    exact = torch.nn.functional.conv2d(images.double(), weight.double()).numpy()
    found = torch.nn.functional.conv2d(images.cuda(), weight.cuda()).cpu().numpy()
    assert np.linalg.norm(found - exact) / np.linalg.norm(exact) < 1e-5  # TF32 is near 3e-4
