"""Augment a batch of images at once. Each image is changed by its own random amounts."""

from collections.abc import Mapping

import torch
from torch import Tensor

from stages.common.training import distributed
from stages.common.vision import pixels


def augment(
    images: Tensor, mean: Tensor, std: Tensor, limits: Mapping[str, float], generator: torch.Generator
) -> Tensor:
    """Augment images (N, 3, S, S), 255 for white, and normalise them to float32 of mean 0 and deviation 1.

    Images are mirrored, change in light and colour, and get a grey square. ``limits`` are `flip`, `brightness`,
    `contrast`, `saturation` and `erase` of a project's augmentation parameters.
    """
    # Drawn on the CPU, so that the amounts are the same on any device.
    drawn = torch.rand(6, distributed.whole(len(images)), 1, 1, 1, generator=generator)
    drawn = distributed.share(drawn, 1).to(images.device)
    if limits["flip"]:
        images = images.clone()
        for mirrored in (drawn[0].flatten() < 0.5).nonzero().flatten().tolist():
            images[mirrored] = images[mirrored].flip(2)  # torch's index_copy would lose the channels-last layout
    inputs = pixels.normalise(images, mean, std)
    if limits["saturation"]:
        factor = 1 + limits["saturation"] * (2 * drawn[1] - 1)
        inputs = torch.lerp(inputs.mean(1, keepdim=True), inputs, factor)
    if limits["contrast"]:
        factor = 1 + limits["contrast"] * (2 * drawn[2] - 1)
        inputs = torch.lerp(inputs.mean((1, 2, 3), keepdim=True), inputs, factor)
    if limits["brightness"]:
        inputs = inputs + limits["brightness"] * (2 * drawn[3] - 1) / std.mean()
    if limits["erase"]:
        side = round(limits["erase"] * images.shape[3])
        top, left = (((images.shape[3] - side + 1) * fraction).long() for fraction in drawn[4:])
        line = torch.arange(images.shape[3], device=images.device)
        rows, columns = (line >= top) & (line < top + side), (line >= left) & (line < left + side)
        inputs = inputs.masked_fill(rows.transpose(2, 3) & columns, 0.0)
    return inputs
