"""The predictor: one or several networks that include their preprocessing.

train, evaluate, plot and export share it, so the served model preprocesses photographs exactly as the measured one.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.common import files, program
from stages.common.vision import classifiers, pixels
from stages.common.vision.classifiers import Member, Members
from stages.landmarks.store import Store

BATCH = 16
"""Photographs per batch when no network is trained. The maps of more don't fit into a processor's cache."""

TRAINED = Path("models/landmarks/trained")
SETTINGS = "settings.json"
"""The parameters of the training, in TRAINED."""
KNOWN = "known.npz"
"""What tells photographs of the classes from others, in TRAINED and in the export."""


class Predictor(Members):
    """Maps photographs to the probabilities of their classes."""

    def __init__(self, members: list[Member], size: int, temperature: float = 1.0) -> None:
        """``size`` is the shorter side, in pixels, to which photographs are resized first."""
        super().__init__(members, temperature)
        self.size = size

    def squares(self, images: Tensor) -> Tensor:
        """Return the central square of photographs, uint8 (N, 3, H, W) of any size, as uint8 (N, 3, size, size)."""
        squares: Tensor = pixels.centre_square(pixels.resize_shorter(images, self.size), self.size)
        return squares

    def forward(self, images: Tensor) -> Tensor:
        """Return the probabilities, float32 (N, classes), of photographs, uint8 (N, 3, H, W) of any size."""
        return self.classify(self.squares(images))


def load(folder: Path = TRAINED, measured: bool = False) -> Predictor:
    """Load the predictor that train stored in ``folder``, on the CPU. ``measured``: it computes as in training."""
    program.keep_memory()
    about = files.read_json(folder / "network.json")
    predictor = Predictor(classifiers.members(folder, measured), about["size"], about["temperature"])
    return predictor.eval().to(memory_format=torch.channels_last)


def batches(predictor: Predictor, photographs: Store, batch_size: int = BATCH) -> Iterator[Tensor]:
    """Yield the squares, uint8 (N, 3, size, size), of stored photographs, the same as `predictor` makes of the originals."""
    for chosen in torch.arange(len(photographs)).split(batch_size):
        yield photographs.crops(chosen.numpy(), predictor.size)


def squares(pictures: NDArray[np.uint8], batch_size: int = BATCH) -> Iterator[Tensor]:
    """Yield the ``pictures``, uint8 (N, size, size, 3), in batches as `Predictor.inspect` takes them."""
    yield from torch.from_numpy(pictures).permute(0, 3, 1, 2).split(batch_size)
