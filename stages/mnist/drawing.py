"""A picture of one digit, of any size, brought to the form of MNIST's images.

As LeCun, Bottou, Bengio and Haffner made those from NIST's (1998, https://doi.org/10.1109/5.726791): scaled into a box of
20x20 pixels, its proportions kept, and its centre of mass put into the middle of 28x28. That middle is pixel (14, 14),
counted from 0: there is the mean of all 70,000. Half a pixel beside it costs a fully connected network a point of accuracy.

Exported models carry this file with them, so it imports numpy and Pillow and nothing else.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Bytes = NDArray[np.uint8]

SIDE, BOX, MIDDLE = 28, 20, 14  # pixels

FAINTEST = 16
"""Contrast to the ground, of 255, below which a picture counts as blank: what is there is the paper."""

SHADE = 0.2
"""Share of the strongest contrast up to which a pixel belongs to the ground: shadows, paper, JPEG's ripples."""

SATURATED = 90
"""Percentile of the ink that becomes 255. A hair line is grey all over once it is scaled, but for where it happens to meet
pixels squarely; by its maximum it would stay too pale to be recognised."""


def centred(grey: Bytes) -> Bytes:
    """A drawing, uint8 (H, W) of any size, as MNIST has digits: uint8 (28, 28), ink up to 255 on a ground of 0.

    The ground is the median of the outermost pixels, and ink is what is darker than it or lighter, whichever goes further.
    Raises ValueError if there is no ink.
    """
    ink = _ink(grey)
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    digit = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(digit.shape)
    height, width = (max(1, round(side * scale)) for side in digit.shape)
    # In floating point: a line of 1 pixel in 1000 would be lost in steps of 1/255.
    small = Image.fromarray(digit.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    strength = np.asarray(small)
    strength = (strength * (255 / np.percentile(strength[strength > 0], SATURATED))).clip(0, 255)
    result = np.zeros((SIDE, SIDE), np.uint8)
    top, left = _begin(strength.sum(1)), _begin(strength.sum(0))
    result[top : top + height, left : left + width] = strength.round()
    return result


def _ink(grey: Bytes) -> Bytes:
    """How far each pixel stands out from the ground, 0 where it belongs to it."""
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    ground = np.uint8(np.median(border))
    darker = ground - np.minimum(grey, ground)
    lighter = np.maximum(grey, ground) - ground
    ink: Bytes = darker if darker.max() > lighter.max() else lighter
    strongest = int(ink.max())
    if strongest < FAINTEST:
        raise ValueError("the picture is blank: expected a digit that stands out from its ground")
    ink[ink <= SHADE * strongest] = 0
    return ink


def _begin(mass: NDArray[np.float32]) -> int:
    """Where, of 28 places, a line of ``mass`` begins so that its centre comes into the middle, as near as whole pixels allow."""
    centre = float(np.arange(len(mass)) @ mass / mass.sum())
    return int(np.clip(round(MIDDLE - centre), 0, SIDE - len(mass)))
