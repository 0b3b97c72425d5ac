"""Conversion of a picture of one digit, of any size, to the form of MNIST's images.

It follows LeCun, Bottou, Bengio and Haffner, who made MNIST from NIST's images (1998,
https://doi.org/10.1109/5.726791). The digit is scaled into a box of 20x20 pixels, keeping its proportions, and its
centre of mass is moved to the middle of 28x28. That middle is pixel (14, 14), counted from 0, where the mean of all
70,000 images is. An offset of half a pixel costs a fully connected network one percentage point of accuracy.

Exported models contain this file, so it imports only numpy and Pillow.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

SIDE, BOX, MIDDLE = 28, 20, 14  # pixels

SHADE = 0.2
"""Fraction of the strongest contrast up to which a pixel is background: shadows, paper, JPEG artefacts."""

SATURATED = 90
"""Percentile of the ink that becomes 255. A scaled thin line is grey except where it aligns with whole pixels. Scaled by its
maximum, it would stay too pale to be recognised."""


def centred(ink: Floats) -> Bytes:
    """Convert a digit's ink, float32 (H, W), 0 to 1, to MNIST's form: uint8 (28, 28), ink up to 255 on a background of 0."""
    ink = np.where(ink > SHADE * ink.max(), ink, 0)
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    digit = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(digit.shape)
    height, width = (max(1, round(side * scale)) for side in digit.shape)
    # Floating point, because steps of 1/255 would lose a line of 1 pixel in 1000.
    small = Image.fromarray(digit.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    strength = np.asarray(small)
    strength = (strength * (255 / np.percentile(strength[strength > 0], SATURATED))).clip(0, 255).round()
    result = np.zeros((SIDE, SIDE), np.uint8)
    top, left = _begin(strength.sum(1)), _begin(strength.sum(0))
    result[top : top + height, left : left + width] = strength
    return result


def _begin(mass: NDArray[np.float32]) -> int:
    """Return the start, within 28 pixels, that puts the centre of ``mass`` closest to the middle."""
    centre = float(np.arange(len(mass)) @ mass / mass.sum())
    return int(np.clip(round(MIDDLE - centre), 0, SIDE - len(mass)))


def as_mnist(picture: Bytes) -> Bytes | None:
    """Return ``picture``, RGBA uint8 (H, W, 4), as MNIST's form if it is one: light on black, or the same on another even ground."""
    if picture.shape[:2] != (SIDE, SIDE):
        return None
    colours, alpha = picture[..., :3].astype(np.int32), picture[..., 3].astype(np.int32)
    grey = np.asarray(Image.fromarray(picture[..., :3]).convert("L")).astype(np.int32)
    if alpha.min() < 255:
        if np.ptp(colours[alpha > 127]) > 8:
            return None
        ink = alpha
    else:
        ground = int(np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])))
        ink = grey if ground == 0 else 255 - grey if ground == 255 else None
        if ink is None:
            return None
    ink = ink.astype(np.uint8)
    mass = ink.astype(np.int64)
    if not mass.sum():
        return None
    centre = [(np.arange(SIDE) * mass.sum(axis)).sum() / mass.sum() for axis in (1, 0)]
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    if max(abs(c - 14) for c in centre) > 1 or max(np.ptp(rows), np.ptp(columns)) + 1 > 22:
        return None
    return ink
