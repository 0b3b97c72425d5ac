"""The classifier: one or several networks that include their preprocessing and calibration.

train, evaluate, plot and export share it, so the served model treats pictures exactly as the measured one.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from stages.common import files, program
from stages.common.vision import classifiers, pixels
from stages.common.vision.classifiers import build

BATCH = 100
"""Pictures per batch in prediction."""

TRAINED = Path("models/scones/trained")
SETTINGS = "settings.json"
"""The parameters of the training, in TRAINED."""
KNOWN = "known.npz"
"""What tells pictures of the classes from others, in TRAINED and in the export."""


class Member(nn.Module):
    """One network with its preprocessing. It takes pictures, uint8 (N, side, side, 3), red, green, blue."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, mean: list[float], std: list[float], side: int, image_size: int, flip: bool
    ) -> None:
        """``side``: of the pictures in pixels. They are resized to ``image_size``. ``flip``: also predict the mirror image."""
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("std", torch.tensor(std), persistent=False)
        self.side, self.image_size, self.flip = side, image_size, flip

    def inputs(self, images: Tensor) -> Tensor:
        """Return the network's inputs, float32 (N, 3, image_size, image_size), of pictures."""
        seen = pixels.resize_square(images.permute(0, 3, 1, 2), self.side, self.image_size)
        return pixels.normalise(seen, self.mean, self.std)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, float32 (N, classes), of pictures."""
        inputs = self.inputs(images)
        logits: Tensor = self.network(inputs)
        if self.flip:
            logits = (logits + self.network(inputs.flip(3))) / 2
        return logits

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of pictures for `known`, float32 (N, size), and their logits (N, classes)."""
        inputs = self.inputs(images)
        features, logits = classifiers.inspect(self.network, inputs)
        if self.flip:
            mirrored, others = classifiers.inspect(self.network, inputs.flip(3))
            features, logits = (features + mirrored) / 2, (logits + others) / 2
        return features, logits


class Classifier(nn.Module):
    """Maps pictures, uint8 (N, side, side, 3), to probabilities, float32 (N, classes): the calibrated mean of its members'."""

    def __init__(self, members: list[Member], temperature: float = 1.0) -> None:
        """``temperature`` divides the logits of a single member, or the logarithms of several members' mean probabilities."""
        super().__init__()
        self.members = nn.ModuleList(members)
        self.side, self.temperature = members[0].side, temperature

    def logits(self, images: Tensor) -> Tensor:
        """Return what the temperature divides, float32 (N, classes)."""
        return joined([member(images) for member in self.members])

    def forward(self, images: Tensor) -> Tensor:
        return (self.logits(images) / self.temperature).softmax(1)

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the probabilities of pictures, and for `known` all members' features (N, size) and mean logits (N, classes)."""
        answers = [member.inspect(images) for member in self.members]  # type: ignore[operator]  # of Member
        features, logits = zip(*answers, strict=True)
        probabilities = (joined(logits) / self.temperature).softmax(1)
        return probabilities, torch.cat(features, 1), torch.stack(logits).mean(0)


def joined(logits: Sequence[Tensor]) -> Tensor:
    """Return the logits (N, classes) of a single member, or the logarithms of several members' mean probabilities."""
    if len(logits) == 1:
        return logits[0]
    mean = torch.stack(list(logits)).softmax(2).mean(0).clamp_min(torch.finfo(torch.float32).tiny)
    return mean.double().log().float()  # torch's logarithm of float32 rounds differently on different processors


def load(folder: Path = TRAINED, measured: bool = False) -> Classifier:
    """Load the classifier that train stored in ``folder``, on the CPU, for prediction.

    ``measured``: compute as in training.
    """
    program.keep_memory()
    about = files.read_json(folder / "network.json")
    size = len(about["classes"])
    networks = classifiers.stored(folder, lambda one: build(one["network"], one["settings"], size).network, measured)
    members = [Member(network, **one["input"]) for network, one in zip(networks, about["members"], strict=True)]
    return Classifier(members, about["temperature"]).eval().to(memory_format=torch.channels_last)


def predict(classifier: Callable[[Tensor], Tensor], images: Tensor, batch_size: int = BATCH) -> Tensor:
    """Return what ``classifier`` returns for ``images``, uint8 (N, side, side, 3), in batches: float32 (..., N, size)."""
    with torch.no_grad():
        return torch.cat([classifier(batch) for batch in images.split(batch_size)], -2)
