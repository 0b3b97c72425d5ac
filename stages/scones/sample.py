"""The embedded sample: drawn bicycles and motorcycles, in the published layout. 1 s for 500 pictures.

Each is drawn at four times its size, with its own pose, colours, background, rider, luggage and noise, and reduced. The
two share what they can (a heavy electric bicycle, a light moped), so that they can't be told apart by a single trait. It
is made to be learnt from, not to be CIFAR-100: its scores say nothing about photographs.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

from stages.common.program import InputError
from stages.scones import layout
from stages.scones.layout import SIDE, Bytes, Entry

Colour = tuple[int, int, int]
Points = Sequence[tuple[float, float]]

COUNTS = {"train": 400, "test": 100}
SEED = 100
DRAWN = 4 * SIDE
"""Pixels of a side before the picture is reduced."""


def write(folder: Path, classes: Sequence[str]) -> None:
    """Fill ``folder`` with the two parts. Raises InputError for classes that can't be drawn."""
    unknown = [name for name in classes if name not in DRAWINGS]
    if unknown:
        raise InputError(
            f"params.yaml: data.scones.classes = {', '.join(classes)} is not allowed with the source sample: expected "
            f"{' and '.join(DRAWINGS)}, the only ones that it draws; set data.scones.source to official for others"
        )
    for number, (part, count) in enumerate(COUNTS.items()):
        layout.write(folder, part, _pictures(number, count, classes))


def _pictures(part: int, count: int, classes: Sequence[str]) -> Iterator[tuple[Entry, Bytes]]:
    for row in range(count):
        label = row % len(classes)
        random = np.random.default_rng([SEED, part, row])
        yield Entry(row, label, f"drawn_s_{row:06d}.png"), picture(classes[label], random)


def picture(name: str, random: Generator) -> Bytes:
    """One picture of the class ``name``, uint8 (32, 32, 3)."""
    canvas = _background(random)
    sketch = Sketch(canvas, random)
    DRAWINGS[name](sketch, random)
    if random.random() < 0.35:
        _foreground(canvas, random)
    image = canvas.filter(ImageFilter.GaussianBlur(random.uniform(0, 3))).reduce(DRAWN // SIDE)
    pixels = np.asarray(image, np.float64)
    pixels = (pixels - 128) * random.uniform(0.5, 1.1) + 128 + random.uniform(-35, 35)
    noise = random.normal(0, random.uniform(2, 14), pixels.shape)
    return (pixels + noise).clip(0, 255).astype(np.uint8)


class Sketch:
    """Draws on a canvas in a vehicle's own units: rear wheel at (0, 0), front wheel at (1, 0), upwards is positive."""

    def __init__(self, canvas: Image.Image, random: Generator) -> None:
        self._draw = ImageDraw.Draw(canvas)
        size = random.uniform(0.38, 0.68) * DRAWN
        turn = np.radians(random.normal(0, 8))
        # Seen from the side (1) or more from the front; facing left or right.
        facing = random.choice([-1, 1]) * random.uniform(0.45, 1)
        cosine, sine = np.cos(turn), np.sin(turn)
        self._matrix = size * np.array([[cosine, sine], [sine, -cosine]]) @ np.diag([facing, 1])
        self._offset = DRAWN * random.uniform([0.42, 0.54], [0.58, 0.7]) - self._matrix @ [0.5, 0.15]
        self._unit = size / 100

    def _place(self, points: Points) -> list[tuple[float, float]]:
        placed = np.asarray(points) @ self._matrix.T + self._offset
        return [(float(x), float(y)) for x, y in placed]

    def line(self, points: Points, colour: Colour, width: float) -> None:
        """``width`` is in hundredths of the distance between the wheels."""
        self._draw.line(self._place(points), colour, max(1, round(width * self._unit)), joint="curve")

    def area(self, points: Points, colour: Colour) -> None:
        self._draw.polygon(self._place(points), colour)

    def disc(self, centre: tuple[float, float], radius: float, colour: Colour) -> None:
        self.area(_circle(centre, radius), colour)

    def ring(self, centre: tuple[float, float], radius: float, colour: Colour, width: float) -> None:
        self.line(_circle(centre, radius), colour, width)


def _circle(centre: tuple[float, float], radius: float) -> Points:
    angles = np.linspace(0, 2 * np.pi, 25)
    return [(centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)) for angle in angles]


def _bicycle(sketch: Sketch, random: Generator) -> None:
    paint, dark = _paint(random), _grey(random, 10, 70)
    radius, tyre = random.uniform(0.28, 0.36), random.uniform(3, 8)
    for x in (0.0, 1.0):
        if random.random() < 0.6:
            for angle in np.arange(0, np.pi, np.pi / 5):
                spoke = radius * np.cos(angle), radius * np.sin(angle)
                sketch.line([(x - spoke[0], -spoke[1]), (x + spoke[0], spoke[1])], _grey(random, 120, 200), 1)
        sketch.ring((x, 0), radius, dark, tyre)
    seat, pedals, head = (0.3, 0.5), (0.4, random.uniform(-0.08, 0.02)), (0.82, random.uniform(0.45, 0.58))
    step_through = random.random() < 0.3
    tubes = [[(0, 0), pedals, seat, (0, 0)], [pedals, head, (1, 0)], [seat, (0.4, 0.15) if step_through else head]]
    for tube in tubes:
        sketch.line(tube, paint, random.uniform(3.5, 8))
    if random.random() < 0.35:  # a battery or a bag in the frame, which looks like an engine
        sketch.area([(0.36, 0.05), (0.6, 0.1), (0.66, 0.38), (0.38, 0.38)], _grey(random, 20, 120))
    if random.random() < 0.3:  # panniers
        sketch.area([(-0.25, 0.42), (0.12, 0.42), (0.12, 0.05), (-0.25, 0.05)], _paint(random))
    sketch.ring(pedals, 0.08, dark, 3)
    sketch.line([(0.2, 0.56), (0.4, 0.56)], dark, 7)
    sketch.line([head, (head[0] - 0.03, 0.68), (0.72 + random.uniform(0, 0.2), 0.7)], dark, 4)
    if random.random() < 0.4:
        _rider(sketch, random, (0.3, 0.6), (0.8, 0.7), pedals)


def _motorcycle(sketch: Sketch, random: Generator) -> None:
    paint, dark = _paint(random), _grey(random, 10, 70)
    radius, tyre = random.uniform(0.24, 0.33), random.uniform(6, 14)
    for x in (0.0, 1.0):
        if random.random() < 0.7:
            sketch.disc((x, 0), radius * random.uniform(0.3, 0.85), _grey(random, 60, 190))
        sketch.ring((x, 0), radius, dark, tyre)
    seat = random.uniform(0.36, 0.5)
    engine = [(0.28, -0.12), (0.66, -0.12), (0.7, 0.24), (0.34, 0.26)]
    if random.random() < 0.85:
        sketch.area(engine, _grey(random, 40, 150))
    sketch.line([(0, 0), (0.32, 0.02)], dark, 7)
    sketch.line([(-0.1, 0.02), (0.45, -0.1)], _grey(random, 140, 230), random.uniform(3, 8))  # exhaust
    tank = random.uniform(0.1, 0.2)
    sketch.area([(0.38, seat - 0.08), (0.76, seat - 0.06), (0.74, seat + tank), (0.5, seat + tank)], paint)
    sketch.area([(-0.12, seat + 0.04), (0.42, seat - 0.02), (0.42, seat - 0.12), (-0.05, seat - 0.1)], dark)
    sketch.line([(1, 0), (0.8, seat + 0.15), (0.7, seat + 0.28)], _grey(random, 90, 210), random.uniform(4, 8))
    if random.random() < 0.5:  # fairing
        sketch.area([(0.7, 0.05), (0.86, 0.2), (0.84, seat + 0.25), (0.66, seat + 0.12)], paint)
    if random.random() < 0.6:  # mudguard
        sketch.line([(0.82, radius), (1, radius + 0.06), (1.2, radius * 0.8)], paint, 6)
    if random.random() < 0.3:  # top case
        sketch.area([(-0.3, seat + 0.25), (-0.02, seat + 0.25), (-0.02, seat), (-0.3, seat)], _grey(random, 20, 120))
    sketch.disc((0.86, seat + 0.12), 0.07, _grey(random, 180, 255))  # headlight
    if random.random() < 0.4:
        _rider(sketch, random, (0.22, seat + 0.06), (0.72, seat + 0.26), (0.45, -0.1))


def _rider(
    sketch: Sketch, random: Generator, seat: tuple[float, float], hands: tuple[float, float], feet: tuple[float, float]
) -> None:
    coat, trousers, skin = _paint(random), _paint(random), (205, 160, 130)
    shoulder = (seat[0] + random.uniform(0.1, 0.32), seat[1] + random.uniform(0.38, 0.5))
    sketch.line([seat, (0.58, seat[1] - 0.12), feet], trousers, 11)
    sketch.line([seat, shoulder], coat, 18)
    sketch.line([shoulder, hands], coat, 8)
    sketch.disc((shoulder[0] + 0.06, shoulder[1] + 0.16), 0.1, _paint(random) if random.random() < 0.5 else skin)


DRAWINGS = {"bicycle": _bicycle, "motorcycle": _motorcycle}


def _background(random: Generator) -> Image.Image:
    """A plain wall, as in a catalogue, or ground and sky with things that stand about."""
    if random.random() < 0.3:
        return Image.new("RGB", (DRAWN, DRAWN), _grey(random, 170, 255))
    canvas = Image.new("RGB", (DRAWN, DRAWN), _paint(random, 90, 240))
    draw = ImageDraw.Draw(canvas)
    horizon = random.integers(DRAWN // 4, DRAWN)
    draw.rectangle([0, int(horizon), DRAWN, DRAWN], _paint(random, 40, 190))
    for _ in range(random.integers(0, 9)):
        x, y, width, height = random.integers([-30, -30, 6, 10], [DRAWN, DRAWN, 60, 90]).tolist()
        shape = draw.rectangle if random.random() < 0.6 else draw.ellipse
        shape([x, y, x + width, y + height], _paint(random, 20, 220))
    return canvas


def _foreground(canvas: Image.Image, random: Generator) -> None:
    """A post, a bush or a passer-by in front."""
    x, y = random.integers([0, DRAWN // 3], [DRAWN, DRAWN]).tolist()
    width, height = random.integers([4, 20], [26, 90]).tolist()
    ImageDraw.Draw(canvas).rectangle([x, y, x + width, y + height], _paint(random))


def _paint(random: Generator, low: int = 10, high: int = 230) -> Colour:
    red, green, blue = random.integers(low, high, 3).tolist()
    return red, green, blue


def _grey(random: Generator, low: int, high: int) -> Colour:
    return (int(random.integers(low, high)),) * 3
