"""The predictor: one or several networks that include their preprocessing.

train, evaluate, plot and export share it, so the served model preprocesses photographs exactly as the measured one.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.common import files, program
from stages.common.vision import classifiers, pixels
from stages.common.vision.classifiers import build, inspect
from stages.landmarks.store import Store

BATCH = 16
"""Photographs per batch when no network is trained. The maps of more don't fit into a processor's cache."""

TRAINED = Path("models/landmarks/trained")
SETTINGS = "settings.json"
"""The parameters of the training, in TRAINED."""
KNOWN = "known.npz"
"""What tells photographs of the classes from others, in TRAINED and in the export."""


class Member(nn.Module):
    """One network with its pre- and postprocessing.

    Maps uint8 squares (N, 3, S, S) to probabilities, float32 (N, classes).
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, mean: list[float], std: list[float], side: int, image_size: int, flip: bool
    ) -> None:
        """``side``: central pixels, resized to ``image_size``. ``flip``: also predict the mirror image."""
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("std", torch.tensor(std), persistent=False)
        self.side, self.image_size, self.flip = side, image_size, flip

    def inputs(self, squares: Tensor) -> Tensor:
        """Return the network's inputs, float32 (N, 3, image_size, image_size)."""
        seen = pixels.resize_square(pixels.centre_square(squares, self.side), self.side, self.image_size)
        return pixels.normalise(seen, self.mean, self.std)

    def forward(self, squares: Tensor) -> Tensor:
        inputs = self.inputs(squares)
        probabilities: Tensor = self.network(inputs).softmax(1)
        if self.flip:
            probabilities = (probabilities + self.network(inputs.flip(3)).softmax(1)) / 2
        return probabilities

    def inspect(self, squares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the probabilities, and features and logits for `known`: float32 (N, size) and (N, classes)."""
        inputs = self.inputs(squares)
        features, logits = inspect(self.network, inputs)
        probabilities = logits.softmax(1)
        if self.flip:
            mirrored, others = inspect(self.network, inputs.flip(3))
            probabilities = (probabilities + others.softmax(1)) / 2
            features, logits = (features + mirrored) / 2, (logits + others) / 2
        return probabilities, features, logits


class Predictor(nn.Module):
    """Maps photographs to the probabilities of their classes: the calibrated mean of the members' probabilities."""

    def __init__(self, members: list[Member], size: int, temperature: float = 1.0) -> None:
        """``size`` is the shorter side, in pixels, to which photographs are resized first.

        ``temperature`` divides the logarithms of the members' mean probabilities.
        """
        super().__init__()
        self.members = nn.ModuleList(members)
        self.size, self.temperature = size, temperature

    def squares(self, images: Tensor) -> Tensor:
        """Return the central square of photographs, uint8 (N, 3, H, W) of any size, as uint8 (N, 3, size, size)."""
        squares: Tensor = pixels.centre_square(pixels.resize_shorter(images, self.size), self.size)
        return squares

    def classify(self, squares: Tensor) -> Tensor:
        """Return the probabilities, float32 (N, classes), of squares, uint8 (N, 3, size, size)."""
        return self.calibrated(torch.stack([member(squares) for member in self.members]).mean(0))

    def calibrated(self, probabilities: Tensor) -> Tensor:
        """Return ``probabilities``, float32 (N, classes), after the temperature, which keeps their order."""
        # Powers, because torch's logarithm rounds differently on different processors. The largest is 1, so none underflows.
        powers = (probabilities / probabilities.amax(1, keepdim=True)).pow(1 / self.temperature)
        return powers / powers.sum(1, keepdim=True)

    def inspect(self, squares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `classify` returns, and for `known` all members' features (N, size) and mean logits (N, classes)."""
        answers = [member.inspect(squares) for member in self.members]  # type: ignore[operator]  # of Member
        probabilities, features, logits = zip(*answers, strict=True)
        calibrated = self.calibrated(torch.stack(probabilities).mean(0))
        return calibrated, torch.cat(features, 1), torch.stack(logits).mean(0)

    def forward(self, images: Tensor) -> Tensor:
        """Return the probabilities, float32 (N, classes), of photographs, uint8 (N, 3, H, W) of any size."""
        return self.classify(self.squares(images))


def load(folder: Path = TRAINED, measured: bool = False) -> Predictor:
    """Load the predictor that train stored in ``folder``, on the CPU. ``measured``: it computes as in training."""
    program.keep_memory()
    about = files.read_json(folder / "network.json")
    size = len(about["classes"])
    networks = classifiers.stored(folder, lambda one: build(one["network"], one["settings"], size).network, measured)
    members = [Member(network, **one["input"]) for network, one in zip(networks, about["members"], strict=True)]
    return Predictor(members, about["size"], about["temperature"]).eval().to(memory_format=torch.channels_last)


def batches(predictor: Predictor, photographs: Store, batch_size: int = BATCH) -> Iterator[Tensor]:
    """Yield the squares, uint8 (N, 3, size, size), of stored photographs, the same as `predictor` makes of the originals."""
    for chosen in torch.arange(len(photographs)).split(batch_size):
        yield photographs.crops(chosen.numpy(), predictor.size)


def squares(pictures: NDArray[np.uint8], batch_size: int = BATCH) -> Iterator[Tensor]:
    """Yield the ``pictures``, uint8 (N, size, size, 3), in batches as `Predictor.inspect` takes them."""
    yield from torch.from_numpy(pictures).permute(0, 3, 1, 2).split(batch_size)
