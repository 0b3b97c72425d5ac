"""A network's views of photographs: random in training, always the same in prediction.

Whole batches are cropped to squares, resized, mirrored and changed in colour at once.
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
    """The training and validation photographs as one network's inputs, on its device."""

    def __init__(
        self, member: Member, size: int, crop: float, limits: Mapping[str, float], train: Store, valid: Store
    ) -> None:
        """``size``: the stored photographs' shorter side in pixels.

        ``crop``: the largest square, as a fraction of ``size``.
        """
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
        """Return the training photographs ``chosen`` (N), each changed by its own random amounts: float32 (N, 3, S, S)."""
        squares = self.squares(chosen, generator).to(self.device)
        return augment(squares, self.member.mean, self.member.std, self.limits, generator)

    def squares(self, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """Return a square of each training photograph, resized to the network's size: uint8 (N, 3, S, S).

        The side is a fraction from `least` to `crop` of the shorter side, sampled uniformly by area. It is the same for
        all, because they are resized together. The position is sampled for each.
        """
        most, least = self.crop, min(self.limits["least"], self.crop)
        drawn = torch.rand(1, generator=generator, dtype=torch.float64).item()
        side = round(self.size * math.sqrt(least**2 + drawn * (most**2 - least**2)))
        count = distributed.whole(len(chosen))
        places = distributed.share(torch.rand(count, 2, generator=generator, dtype=torch.float64)).numpy()
        return pixels.resize_square(self.train.crops(chosen.numpy(), side, places), side, self.member.image_size)

    def validation(self, chosen: Tensor) -> Tensor:
        """Return the middle of the validation photographs ``chosen`` (N), as in prediction: float32 (N, 3, S, S)."""
        return self.centred(self.valid, chosen)

    def centres(self, chosen: Tensor) -> Tensor:
        """Return the middle of the training photographs ``chosen`` (N), as in prediction: float32 (N, 3, S, S)."""
        return self.centred(self.train, chosen)

    def centred(self, photographs: Store, chosen: Tensor) -> Tensor:
        return self.member.inputs(photographs.crops(chosen.numpy(), self.size).to(self.device))
