"""Augmentation of training pictures, a whole batch at once: each is rotated, resized, shifted and recoloured by its own amounts."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from stages.common.training import distributed
from stages.common.vision.augmentation import augment
from stages.common.vision.classifiers import Member
from stages.common.vision.warping import warp


def moved(images: Tensor, size: int, limits: Mapping[str, float], generator: torch.Generator) -> Tensor:
    """Rotate, scale and shift uint8 (N, H, W, 3) at random to float32 (N, 3, ``size``, ``size``), 255 for white.

    Pixels from outside a picture are mirrored at its edges. ``limits`` are the parameters `scones.augmentation`.
    """
    # Sampled on the CPU, so that the amounts are the same on any device.
    drawn = distributed.share(torch.rand(4, distributed.whole(len(images)), generator=generator), 1)
    # numpy, because torch's sine and exponential round differently on different processors.
    turn, scale, right, down = (drawn * 2 - 1).numpy()
    turn, scale = turn * math.radians(limits["rotation"]), np.exp(scale * limits["scale"])
    right, down = (move * (2 * limits["shift"] / 32) for move in (right, down))  # pixels of 32; the image is 2 wide
    cosine, sine = np.cos(turn) / scale, np.sin(turn) / scale
    rows = np.stack([cosine, -sine, right, sine, cosine, down], 1).reshape(-1, 2, 3)
    matrices = torch.from_numpy(rows).to(images.device)
    return warp(images.permute(0, 3, 1, 2).float(), matrices, size, size, "reflection")


def augmented(images: Tensor, member: Member, limits: Mapping[str, float], generator: torch.Generator) -> Tensor:
    """Return pictures, uint8 (N, side, side, 3), as training inputs of ``member``'s network: float32 (N, 3, S, S)."""
    seen = moved(images, member.image_size, limits, generator)
    return augment(seen, member.mean, member.std, limits, generator)
