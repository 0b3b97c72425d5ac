"""A made stream of pictures: by day as the training pictures are, later by night. The truth about each is known.

A night's picture is what a camera without a lamp sees: an eighth of the light, from street lamps, so that blue is weak; a long
exposure, so that it is blurred; and the noise of the sensor.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from stages.scones.config import Film
from stages.scones.layout import Bytes
from stages.scones.sources import sample

LIGHT = (0.138, 0.108, 0.072)
"""Factors on red, green and blue."""

BLUR = 0.8
"""Standard deviation in pixels of 32."""

NOISE = 4.0
"""Standard deviation in grey values of 255."""

DAY, NIGHT = 0, 1
STREAM = 1000
"""Seeds begin with it. The sample's begin with 100, so no picture of the stream is one of the sample."""


class Day(NamedTuple):
    """The pictures of a day."""

    images: list[Bytes]
    """Each (32, 32, 3)."""
    labels: list[int]
    """Each a class's index."""


def day(number: int, film: Film, classes: Sequence[str]) -> Day:
    """Draw the pictures of day ``number``, from 0. They are by night from day ``film.nightfall`` on."""
    labels = [index % len(classes) for index in range(film.pictures)]
    images = []
    for index, label in enumerate(labels):
        image = sample.picture(classes[label], np.random.default_rng([STREAM, film.seed, number, index, DAY]))
        if number >= film.nightfall:
            image = by_night(image, np.random.default_rng([STREAM, film.seed, number, index, NIGHT]))
        images.append(image)
    return Day(images, labels)


def by_night(image: Bytes, random: np.random.Generator) -> Bytes:
    """Return ``image`` (H, W, 3) as a camera would take it at night."""
    blurred = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(BLUR)), np.float64)
    return (blurred * LIGHT + random.normal(0, NOISE, image.shape)).clip(0, 255).astype(np.uint8)
