"""Photographs as a network sees them: in training each time another way, when predicting always the same.

All of it is done to whole batches: a square cut out, resized, mirrored, in other light.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from stages.common.training import distributed
from stages.common.vision import pixels
from stages.common.vision.augmentation import augment
from stages.landmarks.model import Member
from stages.landmarks.store import Store


class Views:
    """What one network's settings make of the photographs that it learns from, as its inputs on its device."""

    def __init__(
        self, member: Member, size: int, crop: float, limits: Mapping[str, float], train: Store, valid: Store
    ) -> None:
        """``size``: pixels of the stored photographs' shorter side; ``crop``: the largest share of it that is looked at."""
        self.member, self.size, self.crop, self.limits, self.train, self.valid = (
            member,
            size,
            crop,
            limits,
            train,
            valid,
        )
        self.device = member.mean.device

    def training(self, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """The training photographs ``chosen`` (N), each changed by amounts of its own: float32 (N, 3, S, S)."""
        squares = self.squares(chosen, generator).to(self.device)
        return augment(squares, self.member.mean, self.member.std, self.limits, generator)

    def squares(self, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """A square out of each training photograph, resized to the network's size: uint8 (N, 3, S, S).

        Its side, a share from `least` to `crop` of the shorter side, is drawn evenly by area and is the same for
        all of them, as they are resized together. Its place is drawn for each.
        """
        most, least = self.crop, min(self.limits["least"], self.crop)
        drawn = torch.rand(1, generator=generator, dtype=torch.float64).item()
        side = round(self.size * math.sqrt(least**2 + drawn * (most**2 - least**2)))
        count = distributed.whole(len(chosen))
        places = distributed.share(torch.rand(count, 2, generator=generator, dtype=torch.float64)).numpy()
        return pixels.resize_square(self.train.crops(chosen.numpy(), side, places), side, self.member.image_size)

    def validation(self, chosen: Tensor) -> Tensor:
        """The middle of the validation photographs ``chosen`` (N), as when predicting: float32 (N, 3, S, S)."""
        return self.centred(self.valid, chosen)

    def centred(self, photographs: Store, chosen: Tensor) -> Tensor:
        return self.member.inputs(photographs.crops(chosen.numpy(), self.size).to(self.device))
