"""Convert a digit's ink, of any size, to the form of MNIST's images.

It follows LeCun, Bottou, Bengio and Haffner, who made MNIST from NIST's images (1998,
https://doi.org/10.1109/5.726791). The digit is scaled into a box of 20x20 pixels, keeping its proportions, and its
centre of mass is moved to the middle of 28x28. That middle is pixel (14, 14), counted from 0, where the mean of all
70,000 images is. An offset of half a pixel costs a fully connected network one percentage point of accuracy.

`page/browser.js` does the same in the browser. Exported models contain this file, so it imports only numpy and Pillow.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

SIDE, BOX, MIDDLE = 28, 20, 14  # pixels

LARGEST, OFF = 22, 1.0
"""Largest side of a digit in MNIST's form, and largest distance of its centre of mass from the middle, in pixels. MNIST's own
digits reach 20 and 0.52."""

FAINTEST = 64
"""Smallest contrast to the background, 0 to 255, of a picture in MNIST's form."""

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


def as_mnist(picture: Bytes) -> Bytes | None:
    """Return ``picture``, RGBA uint8 (H, W, 4), in MNIST's form, uint8 (28, 28), if its digit is placed as MNIST's are.

    Light ink on black is returned unchanged. Any other even background becomes 0. None: it is another kind of picture.
    """
    if picture.shape[:2] != (SIDE, SIDE):
        return None
    grey, alpha = np.asarray(Image.fromarray(picture[..., :3]).convert("L")).astype(np.int32), picture[..., 3]
    if alpha.min() < 255:
        visible = grey[alpha > 127]
        if visible.size and np.ptp(visible) > 8:
            return None
        ink = alpha.astype(np.int32)  # one colour on a transparent background
    else:
        border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
        ground = int(np.median(border))
        if (np.abs(border - ground) > 16).mean() > 0.1:
            return None
        sides = (grey - ground).clip(0), (ground - grey).clip(0)
        ink = max(sides, key=np.max)
        if 0 < ground < 255:
            ink = ink * 255 // max(1, int(ink.max()))
        if sides[0].max() < FAINTEST and sides[1].max() < FAINTEST:
            return None
    rows, columns = np.flatnonzero((ink > 32).any(1)), np.flatnonzero((ink > 32).any(0))
    if ink.max() < FAINTEST or max(np.ptp(rows), np.ptp(columns)) >= LARGEST:
        return None
    centres = [float((np.arange(SIDE) * ink.sum(axis)).sum()) / float(ink.sum()) for axis in (1, 0)]
    return ink.astype(np.uint8) if max(abs(centre - MIDDLE) for centre in centres) <= OFF else None


def light(images: Bytes) -> NDArray[np.bool_]:
    """Return which images, uint8 (N, 28, 28), have a light edge: they are ink on paper, not white on black as MNIST's."""
    edges = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], 1)
    return np.asarray((edges > 127).mean(1) > 0.9, np.bool_)


def _begin(mass: NDArray[np.float32]) -> int:
    """Return the start, within 28 pixels, that puts the centre of ``mass``, whole numbers, closest to the middle."""
    whole = mass.astype(np.int64)  # a sum of fractions could be rounded differently on another processor
    centre = int((np.arange(len(whole)) * whole).sum()) / int(whole.sum())
    return int(np.clip(round(MIDDLE - centre), 0, SIDE - len(mass)))
