"""A stream of pictures for the film: at first by day, like the training pictures, later by night. Their classes are known.

For the sample they are new drawings. For real data they are half of the training pictures, and the first model is trained
without them. A picture at night is what a camera without a lamp sees: an eighth of the light, little blue because it is
from street lamps, blur because of the long exposure, and the sensor's noise.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from stages.common.vision import images
from stages.scones import layout
from stages.scones.config import Film
from stages.scones.endpoint.picture import MAX_PIXELS
from stages.scones.layout import SIDE, Bytes
from stages.scones.sources import sample

LIGHT = (0.138, 0.108, 0.072)
"""Factors on red, green and blue."""

DAY, NIGHT = 0, 1
STREAM = 1000
"""Seeds begin with it. The sample's begin with 100, so no picture of the stream is one of the sample."""


class Day(NamedTuple):
    """The pictures of a day."""

    images: list[Bytes]
    """Each (side, side, 3)."""
    labels: list[int]
    """Each a class's index."""


def drawn(film: Film, classes: Sequence[str]) -> list[Day]:
    """Return the days of ``film`` with drawings, by night from day ``film.nightfall`` on, counted from 0."""
    labels, days = [index % len(classes) for index in range(film.pictures)], []
    for number in range(film.days):
        seeds = [[STREAM, film.seed, number, index, DAY] for index in range(film.pictures)]
        drawing = ((classes[label], np.random.default_rng(seed)) for label, seed in zip(labels, seeds, strict=True))
        days.append(_exposed(number, film, Day([sample.picture(*one) for one in drawing], labels)))
    return days


def taken(raw: Path, target: Path, film: Film, classes: Sequence[str]) -> list[Day]:
    """Return the days of ``film`` with training pictures in ``raw``. Write those that are left, and the test pictures, to ``target``.

    At most half of the training pictures are taken, each once. Both folders have the published layout.
    """
    target.mkdir()
    entries = layout.read_list(raw, "train", classes)
    count = min(film.pictures, len(entries) // 2 // film.days)
    order = np.random.default_rng([STREAM, film.seed]).permutation(len(entries)).tolist()
    chosen = [entries[index] for index in order[: count * film.days]]
    left = [entry for entry in entries if entry not in set(chosen)]
    for part, own in (("train", left), ("test", layout.read_list(raw, "test", classes))):
        layout.write(target, part, ((entry, _image(raw / part / entry.name)) for entry in own))
    days = []
    for number in range(film.days):
        own = chosen[number * count : (number + 1) * count]
        day = Day([_image(raw / "train" / entry.name) for entry in own], [entry.label for entry in own])
        days.append(_exposed(number, film, day))
    return days


def _image(path: Path) -> Bytes:
    return images.read(path, MAX_PIXELS)


def _exposed(number: int, film: Film, day: Day) -> Day:
    if number < film.nightfall:
        return day
    seeds = [[STREAM, film.seed, number, index, NIGHT] for index in range(len(day.images))]
    images = [by_night(image, np.random.default_rng(seed)) for image, seed in zip(day.images, seeds, strict=True)]
    return day._replace(images=images)


def by_night(image: Bytes, random: np.random.Generator) -> Bytes:
    """Return ``image`` (H, W, 3) as a camera would take it at night."""
    blur, noise = 0.8 * len(image) / SIDE, 4.0  # standard deviations: 0.8 pixels of 32, and grey values of 255
    blurred = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(blur)), np.float64)
    return (blurred * LIGHT + random.normal(0, noise, image.shape)).clip(0, 255).astype(np.uint8)
