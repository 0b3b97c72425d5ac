"""Random changes to training images."""

import math

import numpy as np
import torch
from torch import Tensor

from stages.common.training import distributed
from stages.common.vision.warping import warp
from stages.mnist.config import Augmentation
from stages.mnist.model import normalise


def moved(images: Tensor, limits: Augmentation, generator: torch.Generator, shared: bool = True) -> Tensor:
    """Return network inputs (N, 1, 28, 28), each rotated, scaled, sheared and shifted by its own random amounts.

    Pixels from outside the image are background. ``shared``: the images are this process's part of a batch.
    """
    count = len(images)
    # Sampled on the CPU, so that the amounts are the same on any device.
    if shared:
        drawn = distributed.share(torch.rand(6, distributed.whole(count), generator=generator), 1)
    else:
        drawn = torch.rand(6, count, generator=generator)
    # numpy, because torch's sine and exponential round differently on different processors.
    turn, height, width, shear, right, down = (drawn * 2 - 1).numpy()
    turn, shear = turn * math.radians(limits.rotation), shear * math.tan(math.radians(limits.shear))
    height, width = np.exp(height * limits.scale), np.exp(width * limits.scale)
    right, down = (move * (2 * limits.shift / images.shape[-1]) for move in (right, down))  # the image is 2 wide
    cosine, sine = np.cos(turn), np.sin(turn)
    upper = [cosine * width, (cosine * shear - sine) * height, right]
    lower = [sine * width, (sine * shear + cosine) * height, down]
    matrices = torch.from_numpy(np.stack([*upper, *lower], 1).reshape(count, 2, 3)).to(images.device)
    inputs = normalise(images)
    background = normalise(images.new_zeros(1, *images.shape[1:]))
    return warp(inputs - background, matrices, *inputs.shape[2:]) + background
