"""Read the pictures that the endpoint takes: one of 32x32 pixels in a request."""

import numpy as np
from numpy.typing import NDArray

try:
    import images
except ImportError:  # in the project, not in the export
    from stages.common.vision import images

SIDE = 32  # pixels
MAX_PIXELS = 1_000_000
"""Largest number of pixels of a picture, checked before it is decoded."""

CONTENT_TYPES = images.CONTENT_TYPES
"""Content types of requests."""


def check_type(content_type: str) -> None:
    """Raise ValueError if a request of this type has no picture."""
    if not images.is_picture(content_type):
        raise ValueError(f"content type {content_type!r} is not known: expected {', '.join(CONTENT_TYPES)}")


def read(body: bytes, content_type: str) -> NDArray[np.uint8]:
    """Return a request's picture as uint8 (32, 32, 3). Raises ValueError for anything else."""
    check_type(content_type)
    pixels: NDArray[np.uint8] = images.decode(body, MAX_PIXELS)
    height, width, _ = pixels.shape
    if (height, width) != (SIDE, SIDE):
        raise ValueError(f"a picture of {width}x{height} pixels: expected {SIDE}x{SIDE}")
    return pixels
