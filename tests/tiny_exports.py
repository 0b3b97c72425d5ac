"""Tiny untrained networks as the projects export them, and requests for them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stages.common import files
from stages.common.vision import known
from stages.common.vision.classifiers import Member, build, inspect
from stages.landmarks import export as landmarks_export
from stages.landmarks import inference as landmarks
from stages.landmarks.model import Predictor
from stages.mnist import export as mnist_export
from stages.mnist import inference as mnist
from stages.mnist.learning.second import Second
from stages.mnist.model import Classifier, fully_connected
from stages.scones import export as scones_export
from stages.scones import inference as scones
from stages.scones.model import Classifier as Vehicles

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]


def colours() -> nn.Module:
    """A small network of convolutions with batch norm: float32 (N, 3, 32, 32) to logits (N, 3)."""
    settings = {"image_size": 32, "width": 4, "depth": 1, "dropout": 0.0}
    return build("residual", settings, 3).network


def write_known(folder: Path, network: nn.Module) -> None:
    """Write what tells pictures from others: random ones are the network's training pictures."""
    with torch.no_grad():
        features, logits = inspect(network.eval(), torch.randn(8, 3, 32, 32))
    arrays = known.fit(features.numpy())
    found = known.scores(arrays, features.numpy(), logits.numpy())
    files.write_arrays(folder / "known.npz", **known.chosen(known.choose(arrays, found, found, "subspace", 0.99)))


def write_mnist(path: Path) -> None:
    mnist_export.write_torchscript(Classifier(fully_connected([8], 0.0, True)).eval(), path)
    mnist_export.write_second(Second().eval(), path.with_name(mnist.SECOND))
    files.write_json(path.with_name(mnist.LIMITS), {"odds": -100.0, "least": -100.0, "certainty": -100.0})


def write_landmarks(path: Path) -> None:
    network = colours()
    write_known(path.parent, network)
    predictor = Predictor([Member(network, MEAN, STD, 36, 32, True)], 40).eval()
    places: list[dict[str, object]] = [{"name": name, "latitude": None, "longitude": 1.5} for name in "abc"]
    with torch.inference_mode():
        landmarks_export.write_torchscript(predictor, path, places)


def write_scones(path: Path) -> None:
    network = colours()
    write_known(path.parent, network)
    scones_export.write_torchscript(Vehicles([Member(network, MEAN, STD, 32, 32, True)]).eval(), path, ["a", "b", "c"])


PROJECTS: dict[str, tuple[Any, Callable[[Path], None], list[tuple[int, ...]]]] = {
    "mnist": (mnist, write_mnist, [(3, 28, 28), (1, 28, 28), (6, 28, 28)]),
    "landmarks": (landmarks, write_landmarks, [(1, 3, 90, 50), (4, 3, 40, 40), (1, 3, 33, 200), (2, 3, 500, 500)]),
    "scones": (
        scones,
        write_scones,
        [(1, 32, 32, 3), (1, 90, 50, 3), (1, 32, 32, 3), (1, 33, 200, 3), (1, 500, 500, 3)],
    ),
}
"""The functions, what writes a model for them, and the shapes of the requests' contents."""
