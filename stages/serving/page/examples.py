"""Pictures of the test set to click on the page."""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from stages.common.vision import images

MAX_PIXELS = 100_000_000
THUMBNAIL = 96  # pixels, the longer side


class Example(NamedTuple):
    """A picture to click: its class, the file's bytes, and a small PNG of it."""

    label: str
    content: bytes
    thumbnail: bytes


def example(label: str, content: bytes) -> Example:
    picture = Image.fromarray(images.decode(content, MAX_PIXELS))
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    return Example(label, content, png(np.asarray(picture)))


def png(pixels: images.Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
