"""Measure how much darker than its ground each pixel of a picture is, and the picture's noise.

Exported models contain this file, so it imports only numpy and scipy.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

DARKEST = 64.0
"""Smallest brightness by which a contrast is divided: on black, noise would be a strong contrast."""


class Scene(NamedTuple):
    """``tones``: float32 (H, W), 0 to 255, with ink darker than its ground. ``faintest``: the smallest contrast of ink."""

    tones: Floats
    faintest: float


def views(picture: Bytes) -> Iterator[Floats]:
    """Yield the brightness of ``picture``, then the channel that varies most, if it varies more. float32 (H, W), 0 to 255."""
    colours, alpha = picture[..., :3].astype(np.float32), picture[..., 3:].astype(np.float32) / 255
    if alpha.min() < 1:
        seen = _brightness(colours)[alpha[..., 0] > 0.5]
        ground = 0 if seen.size and np.median(seen) > 127 else 255  # so that the opaque ink has contrast
        colours = np.asarray(colours * alpha + ground * (1 - alpha), np.float32)
    grey = _brightness(colours)
    yield grey
    spread = [float(channel.std()) for channel in np.moveaxis(colours, 2, 0)]
    most = int(np.argsort(spread, kind="stable")[-1])
    if spread[most] > 1.3 * float(grey.std()) + 1:
        yield colours[..., most]


def enlarged(tones: Floats) -> Floats:
    """Return a small picture four times as large. If its ground is even, extend it, because the digit may touch the edge."""
    border = np.concatenate([tones[0], tones[-1], tones[:, 0], tones[:, -1]])
    ground = float(np.median(border))
    if (np.abs(border - ground) <= 16).mean() > 0.7:
        tones = np.pad(tones, max(2, max(tones.shape) // 8), constant_values=ground)
    return np.asarray(ndimage.zoom(tones, 4, order=1, mode="nearest", grid_mode=True), np.float32)


def _brightness(colours: Floats) -> Floats:
    red, green, blue = np.moveaxis(colours, 2, 0)  # not a product of matrices, whose rounding depends on the processor
    return np.asarray(red * np.float32(0.299) + green * np.float32(0.587) + blue * np.float32(0.114), np.float32)


def noise_of(tones: Floats) -> float:
    """Return the standard deviation of the noise (Immerkaer 1996, https://doi.org/10.1006/cviu.1996.0060, with a median)."""
    if min(tones.shape) < 3:
        return 0.0
    rows = tones[:-2] - 2 * tones[1:-1] + tones[2:]
    second = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    return float(np.median(np.abs(second))) / (6 * 0.6745)


def contrasts_of(scenes: list[Scene], part: float) -> list[Floats]:
    """Return the contrasts of ``scenes`` with a closing of the size ``part``, a fraction of the longer side."""
    return [contrast_of(scene.tones, max(3, round(part * max(scene.tones.shape)))) for scene in scenes]


def contrast_of(tones: Floats, size: int) -> Floats:
    """Return how much darker each pixel is than its ground, as a fraction of the ground's brightness."""
    ground = ndimage.grey_closing(tones, size=(size, size), mode="nearest")
    return np.asarray((ground - tones) / np.maximum(ground, DARKEST), np.float32)
