"""The classifier: a network that carries its preprocessing and its calibration with it.

Train, evaluate, plot and export share it: what is served does to a picture what was done to it when it was measured.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from stages.common import files, program
from stages.common.portable import Computing
from stages.common.vision import pixels
from stages.common.vision.classifiers import build
from stages.scones.layout import SIDE

BATCH = 100
"""Pictures that are predicted together."""

TRAINED = Path("models/scones/trained")


class Classifier(nn.Module):
    """Pictures in, probabilities out: uint8 (N, 32, 32, 3), red, green, blue, to float32 (N, classes)."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: list[float],
        std: list[float],
        image_size: int,
        flip: bool,
        temperature: float = 1.0,
    ) -> None:
        """Pictures are resized to ``image_size`` and, with ``flip``, seen in the mirror, too; logits are divided by ``temperature``."""
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("std", torch.tensor(std), persistent=False)
        self.image_size, self.flip, self.temperature = image_size, flip, temperature

    def logits(self, images: Tensor) -> Tensor:
        """Of pictures, uint8 (N, 32, 32, 3), before calibration: float32 (N, classes)."""
        seen = pixels.resize_square(images.permute(0, 3, 1, 2), SIDE, self.image_size)
        inputs = pixels.normalise(seen, self.mean, self.std)
        logits: Tensor = self.network(inputs)
        if self.flip:
            logits = (logits + self.network(inputs.flip(3))) / 2
        return logits

    def forward(self, images: Tensor) -> Tensor:
        return (self.logits(images) / self.temperature).softmax(1)


def load(folder: Path = TRAINED, measured: bool = False) -> Classifier:
    """The classifier that train stored in ``folder``, on the CPU, ready to predict; ``measured``: computed as in training."""
    program.keep_memory()
    about = files.read_json(folder / "network.json")
    network = build(about["network"], about["settings"], len(about["classes"])).network
    if measured:
        Computing(**about["computing"]).repeat(network)
    network.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    classifier = Classifier(network, **about["input"], temperature=about["temperature"])
    return classifier.eval().to(memory_format=torch.channels_last)


def predict(classifier: Callable[[Tensor], Tensor], images: Tensor, batch_size: int = BATCH) -> Tensor:
    """What ``classifier``, or its `logits`, gives for ``images``, uint8 (N, 32, 32, 3), in batches: float32 (N, classes)."""
    with torch.no_grad():
        return torch.cat([classifier(batch) for batch in images.split(batch_size)])
