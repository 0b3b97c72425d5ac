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

SIDE, BOX, MIDDLE = 28, 20, 14  # pixels

FAINTEST = 16
"""Contrast to the background (0 to 255) below which a picture counts as blank: such contrast comes from the paper."""

SHADE = 0.2
"""Fraction of the strongest contrast up to which a pixel is background: shadows, paper, JPEG artefacts."""

SATURATED = 90
"""Percentile of the ink that becomes 255. A scaled thin line is grey except where it aligns with whole pixels. Scaled by its
maximum, it would stay too pale to be recognised."""


def centred(grey: Bytes) -> Bytes:
    """Convert a drawing, uint8 (H, W) of any size, to MNIST's form: uint8 (28, 28), ink up to 255 on a background of 0.

    The background is the median of the outermost pixels. Ink is either darker or lighter, whichever has the stronger
    contrast. Raises ValueError if there is no ink.
    """
    ink = _ink(grey)
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    digit = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(digit.shape)
    height, width = (max(1, round(side * scale)) for side in digit.shape)
    # Floating point, because steps of 1/255 would lose a line of 1 pixel in 1000.
    small = Image.fromarray(digit.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    strength = np.asarray(small)
    strength = (strength * (255 / np.percentile(strength[strength > 0], SATURATED))).clip(0, 255)
    result = np.zeros((SIDE, SIDE), np.uint8)
    top, left = _begin(strength.sum(1)), _begin(strength.sum(0))
    result[top : top + height, left : left + width] = strength.round()
    return result


def _ink(grey: Bytes) -> Bytes:
    """Return each pixel's contrast to the background, 0 for background. Raises ValueError if the picture is blank."""
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    ground = np.uint8(np.median(border))
    darker = ground - np.minimum(grey, ground)
    lighter = np.maximum(grey, ground) - ground
    ink: Bytes = darker if darker.max() > lighter.max() else lighter
    strongest = int(ink.max())
    if strongest < FAINTEST:
        raise ValueError("the picture is blank: expected a digit that contrasts with its background")
    ink[ink <= SHADE * strongest] = 0
    return ink


def _begin(mass: NDArray[np.float32]) -> int:
    """Return the start, within 28 pixels, that puts the centre of ``mass`` closest to the middle."""
    centre = float(np.arange(len(mass)) @ mass / mass.sum())
    return int(np.clip(round(MIDDLE - centre), 0, SIDE - len(mass)))
