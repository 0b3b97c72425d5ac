"""The networks, and the classifier that includes the preprocessing.

train, evaluate and export build their network here. evaluate and export wrap it in a `Classifier`, so the served model
preprocesses images exactly as the measured one.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stages.common.vision import classifiers

TRAINED = Path("models/mnist/trained")
SETTINGS = "settings.json"
"""The parameters of the training, in TRAINED."""

CLASSES = [str(digit) for digit in range(10)]
SIDE = 28  # pixels
MEAN, STD = 0.1307, 0.3081  # of MNIST's training images, pixels scaled to [0, 1]


def normalise(images: Tensor, mean: float = 255 * MEAN, std: float = 255 * STD) -> Tensor:
    """Convert uint8 images (N, 28, 28), 0 background to 255 ink, to network inputs: float32 (N, 1, 28, 28), mean 0, std 1."""
    return images.unsqueeze(1).float().sub_(mean).mul_(1 / std)


def fully_connected(hidden: list[int], dropout: float, batch_norm: bool) -> nn.Sequential:
    """Return a network from 784 pixels through layers of ``hidden`` units with ReLU to 10 logits."""
    layers: list[nn.Module] = [nn.Flatten()]
    size = SIDE * SIDE
    for units in hidden:
        layers.append(nn.Linear(size, units))
        if batch_norm:
            layers.append(nn.BatchNorm1d(units))
        layers.append(nn.ReLU())
        if dropout:
            layers.append(nn.Dropout(dropout))
        size = units
    return nn.Sequential(*layers, nn.Linear(size, len(CLASSES)))


def convolutional(width: int, depth: int, kernel: int, dropout: float) -> nn.Sequential:
    """Return a network of three stages of ``depth`` convolutions, at 28x28, 14x14 and 7x7 pixels.

    Each stage is twice as wide as the previous one. The maximum of each channel leads to 10 logits.
    """
    layers: list[nn.Module] = []
    channels = 1
    for stage in range(3):
        if stage:
            layers.append(nn.MaxPool2d(2))
        wide = width * 2**stage
        for _ in range(depth):
            convolution = nn.Conv2d(channels, wide, kernel, padding=kernel // 2, bias=False)
            layers += [convolution, nn.BatchNorm2d(wide), nn.ReLU()]
            channels = wide
    pool = nn.MaxPool2d(SIDE // 4)  # pools the whole map; AdaptiveMaxPool2d has no deterministic gradient on CUDA
    return nn.Sequential(*layers, pool, nn.Flatten(), nn.Dropout(dropout), nn.Linear(channels, len(CLASSES)))


def build(network: str, settings: Mapping[str, Any]) -> nn.Sequential:
    """Build the ``network`` "mlp" or "cnn" with ``settings``, the parameters of that name."""
    return fully_connected(**settings) if network == "mlp" else convolutional(**settings)


class Classifier(nn.Module):
    """Maps raw images, uint8 (N, 28, 28), to probabilities, float32 (N, 10): the mean of its networks' probabilities."""

    def __init__(self, *networks: nn.Sequential) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits of each network, float32 (networks, N, 10)."""
        inputs = normalise(images)
        return torch.stack([network(inputs) for network in self.networks])

    def features(self, images: Tensor) -> Tensor:
        """Return what the networks' last layers get, side by side, float32 (N, size)."""
        inputs = normalise(images)
        return torch.cat([network[:-1](inputs) for network in self.networks], 1)  # type: ignore[index]  # of Sequential

    def forward(self, images: Tensor) -> Tensor:
        return mean_probabilities(self.logits(images))


def mean_probabilities(logits: Tensor) -> Tensor:
    """Return the mean of the networks' probabilities, float32 (N, 10), from their ``logits`` (networks, N, 10)."""
    return logits.softmax(2).mean(0)


def load(folder: Path = TRAINED, measured: bool = False) -> Classifier:
    """Load the classifier that train stored in ``folder``, on the CPU. ``measured``: it computes as in training."""
    networks = classifiers.stored(folder, lambda about: build(about["network"], about["settings"]), measured)
    return Classifier(*networks).eval()


def predict(classifier: Callable[[Tensor], Tensor], images: Tensor, batch_size: int = 1000) -> Tensor:
    """Return probabilities, float32 (N, 10), for uint8 ``images`` (N, 28, 28), or what else ``classifier`` returns for them.

    The images are the last dimension but one of what it returns.
    """
    with torch.no_grad():
        return torch.cat([classifier(batch) for batch in images.split(batch_size)], -2)
