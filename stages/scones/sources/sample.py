"""The embedded sample: drawn vehicles, in the published layout. Takes 1 s for 1,000 pictures.

Each is drawn at four times its size, with its own pose, colours, background, rider and luggage, and then reduced. Most
are easy to distinguish. A fraction `HARD` is not: far away, out of focus, dark, hidden, or a vehicle with traits of
another class. A good classifier is unsure of some of these, so both outcomes of the workflow occur. The scores do not predict
scores on photographs.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

from stages.common.errors import InputError
from stages.scones import layout
from stages.scones.layout import SIDE, Bytes, Entry
from stages.scones.sources.vehicles import DRAWINGS, Sketch, grey, pale

COUNTS = {"train": 400, "test": 100}
"""Pictures of each class."""

SEED = 100
DRAWN = 4 * SIDE
"""Side of a picture in pixels before it is reduced."""

HARD = 0.22
"""Fraction of the pictures that are drawn with one of TROUBLES."""

TROUBLES = ("far", "blurred", "dark", "hidden", "between")


def write(folder: Path, classes: Sequence[str]) -> None:
    """Fill ``folder`` with the two parts. Raises InputError for classes that the sample cannot draw."""
    unknown = [name for name in classes if name not in DRAWINGS]
    if unknown:
        raise InputError(
            f"params.yaml: data.scones.classes = {', '.join(classes)} is not allowed with the source sample: expected "
            f"some of {', '.join(DRAWINGS)}; for other classes set data.scones.source to official"
        )
    for number, (part, count) in enumerate(COUNTS.items()):
        layout.write(folder, part, _pictures(number, count * len(classes), classes))


def _pictures(part: int, count: int, classes: Sequence[str]) -> Iterator[tuple[Entry, Bytes]]:
    for row in range(count):
        label = row % len(classes)
        random = np.random.default_rng([SEED, part, row])
        yield Entry(row, label, f"drawn_s_{row:06d}.png"), picture(classes[label], random)


def picture(name: str, random: Generator) -> Bytes:
    """Draw one picture of the class ``name``, uint8 (32, 32, 3)."""
    trouble = TROUBLES[random.integers(len(TROUBLES))] if random.random() < HARD else ""
    canvas = _background(random)
    sketch = Sketch(canvas, random, random.uniform(0.24, 0.36) if trouble == "far" else random.uniform(0.5, 0.64))
    DRAWINGS[name](sketch, random, trouble == "between")
    if trouble == "hidden":
        _foreground(canvas, random, (DRAWN // 4, DRAWN // 2), (DRAWN // 3, DRAWN // 2))
    elif random.random() < 0.15:
        _foreground(canvas, random, (0, DRAWN), (4, 14))
    blur = random.uniform(1.3, 2.1) if trouble == "blurred" else random.uniform(0, 0.4)
    contrast = random.uniform(0.12, 0.3) if trouble == "dark" else random.uniform(0.75, 1.1)
    light = random.uniform(-90, -60) if trouble == "dark" else random.uniform(-20, 20)
    image = canvas.reduce(DRAWN // SIDE).filter(ImageFilter.GaussianBlur(blur))
    pixels = (np.asarray(image, np.float64) - 128) * contrast + 128 + light
    noise = random.normal(0, random.uniform(6, 11) if trouble == "dark" else random.uniform(1, 7), pixels.shape)
    return (pixels + noise).clip(0, 255).astype(np.uint8)


def _background(random: Generator) -> Image.Image:
    """Return a plain wall, as in a catalogue, or ground and sky with some objects."""
    if random.random() < 0.3:
        return Image.new("RGB", (DRAWN, DRAWN), grey(random, 180, 250))
    canvas = Image.new("RGB", (DRAWN, DRAWN), pale(random, 165, 250))
    draw = ImageDraw.Draw(canvas)
    horizon = int(random.integers(DRAWN // 3, DRAWN * 4 // 5))
    for _ in range(random.integers(0, 5)):  # houses and trees
        x, width, height = random.integers([-20, 10, 10], [DRAWN, 50, 70]).tolist()
        shape = draw.rectangle if random.random() < 0.6 else draw.ellipse
        shape([x, horizon - height, x + width, horizon], pale(random, 130, 225))
    draw.rectangle([0, horizon, DRAWN, DRAWN], pale(random, 120, 205))
    return canvas


def _foreground(canvas: Image.Image, random: Generator, where: tuple[int, int], widths: tuple[int, int]) -> None:
    """Draw a post, a bush or a passer-by in front."""
    x, width, top = random.integers([where[0], widths[0], 10], [where[1], widths[1], DRAWN // 2]).tolist()
    draw = ImageDraw.Draw(canvas)
    shape = draw.rectangle if random.random() < 0.5 else draw.ellipse
    shape([x, top, x + width, DRAWN], pale(random, 30, 190))
