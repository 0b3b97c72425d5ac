"""The embedded sample: drawn bicycles and motorcycles, in the published layout. Takes 1 s for 1,000 pictures.

Each is drawn at four times its size, with its own pose, colours, background, rider and luggage, and then reduced. Most
are easy to distinguish. A fraction `HARD` is not: far away, out of focus, dark, hidden, or a vehicle with traits of
both. A good classifier is unsure of some of these, so both outcomes of the workflow occur. The scores do not predict
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

Colour = tuple[int, int, int]
Points = Sequence[tuple[float, float]]

COUNTS = {"train": 800, "test": 200}
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
            f"{' and '.join(DRAWINGS)}; for other classes set data.scones.source to official"
        )
    for number, (part, count) in enumerate(COUNTS.items()):
        layout.write(folder, part, _pictures(number, count, classes))


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


class Sketch:
    """A drawing on a canvas in a vehicle's own units: rear wheel at (0, 0), front wheel at (1, 0), upwards is positive.

    Points are computed with sums and products only, because the last bit of a sine differs between processors.
    """

    def __init__(self, canvas: Image.Image, random: Generator, size: float) -> None:
        """``size`` is the distance between the wheels as a fraction of the canvas."""
        self._draw = ImageDraw.Draw(canvas)
        size *= DRAWN
        half = random.uniform(-0.09, 0.09)  # tangent of half the angle of lean
        cosine, sine = (1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)
        # View from the side (1) or more from the front, facing left or right.
        facing = (1 if random.random() < 0.5 else -1) * random.uniform(0.65, 1)
        self._right = size * cosine * facing, size * sine * facing
        self._up = size * sine, -size * cosine
        x, y = DRAWN * random.uniform(0.45, 0.55), DRAWN * random.uniform(0.55, 0.66)
        self._offset = x - 0.5 * self._right[0] - 0.2 * self._up[0], y - 0.5 * self._right[1] - 0.2 * self._up[1]
        self._unit = size / 100

    def _place(self, points: Points) -> list[tuple[float, float]]:
        (a, b), (c, d), (x, y) = self._right, self._up, self._offset
        return [(x + a * right + c * up, y + b * right + d * up) for right, up in points]

    def line(self, points: Points, colour: Colour, width: float) -> None:
        """Draw a line. ``width`` is in hundredths of the distance between the wheels."""
        self._draw.line(self._place(points), colour, max(1, round(width * self._unit)))

    def area(self, points: Points, colour: Colour) -> None:
        self._draw.polygon(self._place(points), colour)

    def disc(self, centre: tuple[float, float], radius: float, colour: Colour) -> None:
        self.area(_circle(centre, radius), colour)

    def ring(self, centre: tuple[float, float], radius: float, colour: Colour, width: float) -> None:
        self.line(_circle(centre, radius), colour, width)


TANGENTS = [step / 6 for step in range(6)]  # of half the angle
RIGHT_TO_TOP = [((1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)) for half in TANGENTS]
TOP_TO_LEFT = [(-y, x) for x, y in RIGHT_TO_TOP]
CIRCLE = [*RIGHT_TO_TOP, *TOP_TO_LEFT, *((-x, -y) for x, y in RIGHT_TO_TOP + TOP_TO_LEFT), (1.0, 0.0)]
"""Points of a circle of radius 1 around (0, 0)."""


def _circle(centre: tuple[float, float], radius: float) -> Points:
    return [(centre[0] + radius * x, centre[1] + radius * y) for x, y in CIRCLE]


def _bicycle(sketch: Sketch, random: Generator, heavy: bool) -> None:
    """Draw a bicycle. A ``heavy`` one has a motorcycle's tyres and something like an engine in the frame."""
    paint, dark = _vivid(random), _grey(random, 10, 55)
    radius, tyre = random.uniform(0.3, 0.36), random.uniform(5, 8) if heavy else random.uniform(3, 5.5)
    for x in (0.0, 1.0):
        if random.random() < 0.5:
            for across, along in CIRCLE[0:12:3]:
                ends = [(x - radius * across, -radius * along), (x + radius * across, radius * along)]
                sketch.line(ends, _grey(random, 130, 200), 1)
        sketch.ring((x, 0), radius, dark, tyre)
    seat, pedals, head = (0.3, 0.48), (0.42, random.uniform(-0.06, 0.02)), (0.82, random.uniform(0.46, 0.56))
    step_through = random.random() < 0.25
    tubes = [[(0, 0), pedals, seat, (0, 0)], [pedals, head, (1, 0)], [seat, (0.42, 0.15) if step_through else head]]
    for tube in tubes:
        sketch.line(tube, paint, random.uniform(4, 6))
    if heavy:
        sketch.area([(0.34, -0.06), (0.62, 0.0), (0.68, 0.4), (0.36, 0.4)], _grey(random, 20, 120))
    if heavy or random.random() < 0.15:  # panniers
        sketch.area([(-0.22, 0.4), (0.1, 0.4), (0.1, 0.08), (-0.22, 0.08)], _vivid(random))
    sketch.ring(pedals, 0.07, dark, 3)
    sketch.line([(0.19, 0.56), (0.38, 0.56)], dark, 6)
    sketch.line([seat, (0.28, 0.56)], dark, 3)
    sketch.line([head, (head[0] - 0.03, 0.68), (0.78 + random.uniform(0, 0.14), 0.7)], dark, 4)
    if random.random() < 0.3:
        _rider(sketch, random, (0.28, 0.6), (0.8, 0.7), pedals)


def _motorcycle(sketch: Sketch, random: Generator, light: bool) -> None:
    """Draw a motorcycle. A ``light`` one has thin tyres and little around the engine."""
    paint, dark = _vivid(random), _grey(random, 10, 55)
    radius, tyre = random.uniform(0.25, 0.31), random.uniform(7, 10) if light else random.uniform(10, 15)
    for x in (0.0, 1.0):
        if not light:
            sketch.disc((x, 0), radius * random.uniform(0.4, 0.85), _grey(random, 60, 170))
        sketch.ring((x, 0), radius, dark, tyre)
    seat = random.uniform(0.38, 0.46)
    sketch.line([(0, 0), (0.34, 0.02), (0.4, seat)], dark, 7)
    sketch.area([(0.3, -0.12), (0.66, -0.12), (0.7, 0.22), (0.34, 0.26)], _grey(random, 40, 120))
    sketch.line([(-0.12, 0.02), (0.42, -0.1)], _grey(random, 150, 230), random.uniform(4, 8))  # exhaust
    tank = random.uniform(0.02, 0.06) if light else random.uniform(0.12, 0.2)
    if not light:
        sketch.area([(0.34, 0.2), (0.74, 0.2), (0.78, seat), (0.3, seat)], paint if random.random() < 0.5 else dark)
    sketch.area([(0.38, seat - 0.08), (0.78, seat - 0.06), (0.76, seat + tank), (0.5, seat + tank)], paint)
    sketch.area([(-0.12, seat + 0.04), (0.42, seat - 0.02), (0.42, seat - 0.12), (-0.05, seat - 0.1)], dark)
    sketch.line([(1, 0), (0.8, seat + 0.15), (0.7, seat + 0.26)], _grey(random, 90, 200), random.uniform(4, 7))
    if not light and random.random() < 0.5:  # fairing
        sketch.area([(0.68, 0.02), (0.88, 0.2), (0.86, seat + 0.22), (0.66, seat + 0.1)], paint)
    if not light:  # mudguards
        sketch.line([(0.82, radius), (1, radius + 0.05), (1.2, radius * 0.8)], paint, 6)
        sketch.line([(-0.28, radius * 0.7), (-0.1, radius + 0.06), (0.1, seat - 0.08)], paint, 6)
    if random.random() < 0.2:  # top case
        sketch.area([(-0.26, seat + 0.24), (0, seat + 0.24), (0, seat), (-0.26, seat)], _grey(random, 20, 120))
    sketch.disc((0.86, seat + 0.1), 0.07, _grey(random, 200, 255))  # headlight
    if random.random() < 0.3:
        _rider(sketch, random, (0.22, seat + 0.06), (0.72, seat + 0.26), (0.45, -0.1))


def _rider(
    sketch: Sketch, random: Generator, seat: tuple[float, float], hands: tuple[float, float], feet: tuple[float, float]
) -> None:
    coat, trousers, skin = _vivid(random), _vivid(random), (205, 160, 130)
    shoulder = (seat[0] + random.uniform(0.12, 0.3), seat[1] + random.uniform(0.36, 0.44))
    sketch.line([seat, (0.58, seat[1] - 0.12), feet], trousers, 9)
    sketch.line([seat, shoulder], coat, 15)
    sketch.line([shoulder, hands], coat, 6)
    sketch.disc((shoulder[0] + 0.06, shoulder[1] + 0.15), 0.1, _vivid(random) if random.random() < 0.5 else skin)


DRAWINGS = {"bicycle": _bicycle, "motorcycle": _motorcycle}


def _background(random: Generator) -> Image.Image:
    """Return a plain wall, as in a catalogue, or ground and sky with some objects."""
    if random.random() < 0.3:
        return Image.new("RGB", (DRAWN, DRAWN), _grey(random, 180, 250))
    canvas = Image.new("RGB", (DRAWN, DRAWN), _pale(random, 165, 250))
    draw = ImageDraw.Draw(canvas)
    horizon = int(random.integers(DRAWN // 3, DRAWN * 4 // 5))
    for _ in range(random.integers(0, 5)):  # houses and trees
        x, width, height = random.integers([-20, 10, 10], [DRAWN, 50, 70]).tolist()
        shape = draw.rectangle if random.random() < 0.6 else draw.ellipse
        shape([x, horizon - height, x + width, horizon], _pale(random, 130, 225))
    draw.rectangle([0, horizon, DRAWN, DRAWN], _pale(random, 120, 205))
    return canvas


def _foreground(canvas: Image.Image, random: Generator, where: tuple[int, int], widths: tuple[int, int]) -> None:
    """Draw a post, a bush or a passer-by in front."""
    x, width, top = random.integers([where[0], widths[0], 10], [where[1], widths[1], DRAWN // 2]).tolist()
    draw = ImageDraw.Draw(canvas)
    shape = draw.rectangle if random.random() < 0.5 else draw.ellipse
    shape([x, top, x + width, DRAWN], _pale(random, 30, 190))


def _vivid(random: Generator) -> Colour:
    red, green, blue = random.permutation(random.integers([0, 10, 90], [60, 130, 230])).tolist()
    return red, green, blue


def _pale(random: Generator, low: int, high: int) -> Colour:
    """Return a colour near a grey between ``low`` and ``high``."""
    level = random.integers(low, high)
    red, green, blue = (level + random.integers(-22, 23, 3)).clip(0, 255).tolist()
    return red, green, blue


def _grey(random: Generator, low: int, high: int) -> Colour:
    return (int(random.integers(low, high)),) * 3
