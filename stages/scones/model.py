"""The classifier: a network that includes its preprocessing and calibration.

train, evaluate, plot and export share it, so the served model treats pictures exactly as the measured one.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from stages.common import files, program
from stages.common.portable import Computing
from stages.common.vision import pixels
from stages.common.vision.classifiers import build, inspect

BATCH = 100
"""Pictures per batch in prediction."""

TRAINED = Path("models/scones/trained")
SETTINGS = "settings.json"
"""The parameters of the training, in TRAINED."""
KNOWN = "known.npz"
"""What tells pictures of the classes from others, in TRAINED and in the export."""


class Classifier(nn.Module):
    """Maps pictures, uint8 (N, side, side, 3), red, green, blue, to probabilities, float32 (N, classes)."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: list[float],
        std: list[float],
        side: int,
        image_size: int,
        flip: bool,
        temperature: float = 1.0,
    ) -> None:
        """``side``: of the pictures in pixels. They are resized to ``image_size``.

        ``flip``: also predict the mirror image. ``temperature`` divides the logits.
        """
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("std", torch.tensor(std), persistent=False)
        self.side, self.image_size, self.flip, self.temperature = side, image_size, flip, temperature

    def inputs(self, images: Tensor) -> Tensor:
        """Return the network's inputs, float32 (N, 3, image_size, image_size), of pictures, uint8 (N, side, side, 3)."""
        seen = pixels.resize_square(images.permute(0, 3, 1, 2), self.side, self.image_size)
        return pixels.normalise(seen, self.mean, self.std)

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits, float32 (N, classes), of pictures, uint8 (N, side, side, 3), before calibration."""
        inputs = self.inputs(images)
        logits: Tensor = self.network(inputs)
        if self.flip:
            logits = (logits + self.network(inputs.flip(3))) / 2
        return logits

    def forward(self, images: Tensor) -> Tensor:
        return (self.logits(images) / self.temperature).softmax(1)

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the probabilities of pictures, and their features and logits for `known`: float32 (N, size), (N, classes)."""
        inputs = self.inputs(images)
        features, logits = inspect(self.network, inputs)
        if self.flip:
            mirrored, others = inspect(self.network, inputs.flip(3))
            features, logits = (features + mirrored) / 2, (logits + others) / 2
        return (logits / self.temperature).softmax(1), features, logits


def load(folder: Path = TRAINED, measured: bool = False) -> Classifier:
    """Load the classifier that train stored in ``folder``, on the CPU, for prediction.

    ``measured``: compute as in training.
    """
    program.keep_memory()
    about = files.read_json(folder / "network.json")
    network = build(about["network"], about["settings"], len(about["classes"])).network
    if measured:
        Computing(**about["computing"]).repeat(network)
    network.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    classifier = Classifier(network, **about["input"], temperature=about["temperature"])
    return classifier.eval().to(memory_format=torch.channels_last)


def predict(classifier: Callable[[Tensor], Tensor], images: Tensor, batch_size: int = BATCH) -> Tensor:
    """Return the output of ``classifier``, or its `logits`, for ``images``, uint8 (N, side, side, 3), in batches: float32 (N, classes)."""
    with torch.no_grad():
        return torch.cat([classifier(batch) for batch in images.split(batch_size)])
