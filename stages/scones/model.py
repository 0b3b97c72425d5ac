"""The networks, and the classifier that carries its preprocessing and its calibration with it.

Train, evaluate, plot and export build their network here, and all of them wrap it in a `Classifier`: what is served does
to a picture what was done to it when it was measured.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from stages.common import files
from stages.common.vision import backbones, networks, pixels
from stages.scones.layout import SIDE

TRAINED = Path("models/scones/trained")


class Built(NamedTuple):
    """A network from normalised images to logits, and the normalisation that it wants (None: that of the training part)."""

    network: nn.Module
    mean: list[float] | None
    std: list[float] | None


def build(name: str, settings: Mapping[str, Any], classes: int, weights: str = "none") -> Built:
    """The network called ``name`` for so many ``classes``; ``settings`` are the parameters of that name.

    ``weights`` are what a backbone begins with. Raises InputError for those of `transfer` that can't be had.
    """
    if name == "residual":
        return Built(networks.residual(classes, settings["width"], settings["depth"], settings["dropout"]), None, None)
    backbone = backbones.build(settings["backbone"], weights, [], settings["image_size"])
    head = networks.head(backbone.size, classes, None, settings["dropout"])
    network = backbones.Transfer(backbone.network, head, settings["fine_tune"], weights != "none")
    return Built(network, backbone.mean, backbone.std)


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


def load(folder: Path = TRAINED) -> Classifier:
    """The classifier that train stored in ``folder``, on the CPU, ready to predict."""
    about = files.read_json(folder / "network.json")
    network = build(about["network"], about["settings"], len(about["classes"])).network
    network.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    classifier = Classifier(network, **about["input"], temperature=about["temperature"])
    return classifier.eval().to(memory_format=torch.channels_last)


def predict(classifier: Callable[[Tensor], Tensor], images: Tensor, batch_size: int = 100) -> Tensor:
    """What ``classifier``, or its `logits`, gives for ``images``, uint8 (N, 32, 32, 3), in batches: float32 (N, classes)."""
    with torch.no_grad():
        return torch.cat([classifier(batch) for batch in images.split(batch_size)])
