"""Read the picture in a request to the endpoint, and make the square of it that the model sees.

prepare makes the training and test pictures with the same functions.
"""

from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

try:
    import images
except ImportError:  # in the project, not in the export
    from stages.common.vision import images

LEAST = 32
"""Smallest side of a picture in pixels: a smaller one shows too little."""

MAX_PIXELS = 100_000_000
"""Largest number of pixels of a picture, checked before it is decoded."""

ARRAY = "application/x-npy"

CONTENT_TYPES = (*images.CONTENT_TYPES, ARRAY)
"""Content types of requests."""

Pixels = NDArray[np.uint8]


def check_type(content_type: str) -> None:
    """Raise ValueError if a request of this type has no picture."""
    if not images.is_picture(content_type) and not _is_array(content_type):
        raise ValueError(f"content type {content_type!r} is not known: expected {', '.join(CONTENT_TYPES)}")


def read(body: bytes, content_type: str) -> Pixels:
    """Return a request's picture as uint8 (H, W, 3). Raises ValueError for anything else.

    application/x-npy is such an array, or one of shape (1, H, W, 3), as written by numpy.save.
    """
    check_type(content_type)
    return _from_array(body) if _is_array(content_type) else cast(Pixels, images.decode(body, MAX_PIXELS))


def squared(pixels: Pixels, side: int) -> Pixels:
    """Return what the model sees of a picture, uint8 (H, W, 3) of any size: its central square, uint8 (``side``, ``side``, 3).

    A larger square is reduced: each pixel is the mean of those that it covers. A smaller one is enlarged by cubic
    interpolation. Raises ImageError for a picture below LEAST pixels on a side.
    """
    height, width, _ = pixels.shape
    shorter = min(height, width)
    if shorter < LEAST:
        raise images.ImageError(f"the picture has {width} x {height} pixels, expected at least {LEAST} on each side")
    if (height, width) == (side, side):
        return pixels
    method = Image.Resampling.BICUBIC if shorter < side else Image.Resampling.BOX
    return np.array(ImageOps.fit(Image.fromarray(pixels), (side, side), method))


def _is_array(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == ARRAY


def _from_array(body: bytes) -> Pixels:
    pixels: Pixels = images.from_npy(body)
    found = pixels.shape
    if pixels.ndim == 4 and found[0] == 1:
        pixels = pixels[0]
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in found:
        raise ValueError(f"a picture of shape {found}: expected (H, W, 3)")
    if max(pixels.shape[:2]) > images.MAX_ASPECT * min(pixels.shape[:2]):
        raise ValueError(f"a picture of shape {found}: expected no side more than {images.MAX_ASPECT} times the other")
    return pixels
