"""A network's views of photographs: random in training, always the same in prediction.

Whole batches are cropped to squares, resized, mirrored and changed in colour at once.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from stages.common.training import distributed
from stages.common.vision import pixels
from stages.common.vision.augmentation import augment
from stages.common.vision.classifiers import Member
from stages.landmarks.store import Store

Part = Literal["train", "valid"]


@dataclass
class Views:
    """The training and validation photographs as one network's inputs, on its device."""

    member: Member
    size: int
    """The stored photographs' shorter side in pixels."""
    crop: float
    """The largest square, as a fraction of ``size``."""
    limits: Mapping[str, float]
    side: int
    """Side of the training inputs in pixels. In prediction it may be larger."""
    train: Store
    valid: Store

    def training(self, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """Return the training photographs ``chosen`` (N), each changed by its own random amounts: float32 (N, 3, side, side).

        A square's side is a fraction from `least` to `crop` of the photograph's shorter side, sampled uniformly by area. It is
        the same for all, because they are resized together. The position is sampled for each.
        """
        most, least = self.crop, min(self.limits["least"], self.crop)
        drawn = torch.rand(1, generator=generator, dtype=torch.float64).item()
        square = round(self.size * math.sqrt(least**2 + drawn * (most**2 - least**2)))
        count = distributed.whole(len(chosen))
        places = distributed.share(torch.rand(count, 2, generator=generator, dtype=torch.float64)).numpy()
        squares = self.train.crops(chosen.numpy(), square, places)
        seen = pixels.resize_square(squares, square, self.side)
        seen = seen.to(self.member.mean.device)
        return augment(seen, self.member.mean, self.member.std, self.limits, generator)

    def middles(self, part: Part, chosen: Tensor) -> Tensor:
        """Return the middle of the photographs ``chosen`` (N) of ``part``, as in prediction: float32 (N, 3, S, S)."""
        stored = self.train if part == "train" else self.valid
        return self.member.inputs(stored.crops(chosen.numpy(), self.size).to(self.member.mean.device))
