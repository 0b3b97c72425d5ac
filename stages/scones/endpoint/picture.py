"""Read the picture in a request to the endpoint: one picture of 32x32 pixels."""

import numpy as np
from numpy.typing import NDArray

try:
    import images
except ImportError:  # in the project, not in the export
    from stages.common.vision import images

SIDE = 32  # pixels
MAX_PIXELS = 1_000_000
"""Largest number of pixels of a picture, checked before it is decoded."""

ARRAY = "application/x-npy"

CONTENT_TYPES = (*images.CONTENT_TYPES, ARRAY)
"""Content types of requests."""


def check_type(content_type: str) -> None:
    """Raise ValueError if a request of this type has no picture."""
    if not images.is_picture(content_type) and not _is_array(content_type):
        raise ValueError(f"content type {content_type!r} is not known: expected {', '.join(CONTENT_TYPES)}")


def read(body: bytes, content_type: str) -> NDArray[np.uint8]:
    """Return a request's picture as uint8 (32, 32, 3). Raises ValueError for anything else.

    application/x-npy is such an array, or one of shape (1, 32, 32, 3), as written by numpy.save.
    """
    check_type(content_type)
    if _is_array(content_type):
        return _from_array(body)
    pixels: NDArray[np.uint8] = images.decode(body, MAX_PIXELS)
    height, width, _ = pixels.shape
    if (height, width) != (SIDE, SIDE):
        raise ValueError(f"a picture of {width}x{height} pixels: expected {SIDE}x{SIDE}")
    return pixels


def _is_array(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == ARRAY


def _from_array(body: bytes) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = images.from_npy(body)
    if pixels.shape not in ((SIDE, SIDE, 3), (1, SIDE, SIDE, 3)):
        raise ValueError(f"a picture of shape {pixels.shape}: expected ({SIDE}, {SIDE}, 3)")
    return pixels.reshape(SIDE, SIDE, 3)
