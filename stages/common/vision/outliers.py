"""Pictures that belong to no class, made in code: to choose how a classifier recognises such pictures, and to measure it.

Each kind is a function from a random generator and a side in pixels to a square picture. The kinds of `CHOOSING` and
those of `MEASURING` are different, so a method is not measured on what it was chosen by. Whole numbers and resizing of
bytes give the same pictures on every processor.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Pixels = NDArray[np.uint8]
Kind = Callable[[Generator, int], Image.Image]

DRAWN = 128
"""Side in pixels of drawings, which are resized afterwards."""


def noise(random: Generator, side: int) -> Image.Image:
    """Independent pixels, grey or coloured, of a random contrast."""
    channels = 3 if random.random() < 0.5 else 1
    middle, spread = random.integers(60, 196), random.integers(20, 128)
    grains = side // int(random.integers(1, 5)) + 1
    values = middle + random.integers(-spread, spread + 1, (grains, grains, channels))
    return _resized(values.clip(0, 255).repeat(3 // channels, axis=2), side, Image.Resampling.NEAREST)


def clouds(random: Generator, side: int) -> Image.Image:
    """Coarse noise on which finer noise lies, as in clouds and marble."""
    total = np.zeros((side, side, 3), np.int64)
    for octave in range(5):
        grid = random.integers(0, 256, (2 + 2**octave, 2 + 2**octave, 3))
        total += np.asarray(_resized(grid, side, Image.Resampling.BICUBIC), np.int64) >> octave
    return _resized(total * 128 // 248, side)


def stripes(random: Generator, side: int) -> Image.Image:
    """Stripes, or a chequered board, in two colours."""
    y, x = np.indices((side, side))
    width = int(random.integers(max(2, side // 32), side // 3))
    across, down = random.integers(-4, 5, 2)
    rows = (across * x + down * y + 8 * side) // (4 * width)
    if random.random() < 0.4:
        rows = x // width + y // width
    colours = random.integers(0, 256, (2, 3))
    return _resized(colours[rows % 2], side)


def shapes(random: Generator, side: int) -> Image.Image:
    """Some polygons, ellipses and lines on a plain ground."""
    image = Image.new("RGB", (DRAWN, DRAWN), _colour(random))
    draw = ImageDraw.Draw(image)
    for _ in range(random.integers(1, 12)):
        points = [tuple(point) for point in random.integers(-DRAWN // 8, DRAWN * 9 // 8, (5, 2)).tolist()]
        colour, form = _colour(random), random.integers(3)
        if form == 0:
            draw.polygon(points[: int(random.integers(3, 6))], colour)
        elif form == 1:
            (left, right), (top, bottom) = (sorted(pair) for pair in zip(*points[:2], strict=True))
            draw.ellipse([left, top, right, bottom], colour)
        else:
            draw.line(points[: int(random.integers(2, 6))], colour, int(random.integers(1, 12)))
    return image.resize((side, side), Image.Resampling.BOX if side < DRAWN else Image.Resampling.BICUBIC)


def cells(random: Generator, side: int) -> Image.Image:
    """Cells around random points, as in giraffes' fur and dried mud, each in its own shade."""
    y, x = np.indices((side, side))
    points = random.integers(0, side, (int(random.integers(6, 40)), 2))
    distance = (y[..., None] - points[:, 0]) ** 2 + (x[..., None] - points[:, 1]) ** 2
    shades = (random.integers(0, 256, 3) + random.integers(-60, 61, (len(points), 3))).clip(0, 255)
    return _resized(shades[distance.argmin(2)], side)


def bricks(random: Generator, side: int) -> Image.Image:
    """A wall of bricks with joints."""
    y, x = np.indices((side, side))
    height = int(random.integers(max(3, side // 16), side // 4))
    width, joint = height * int(random.integers(1, 4)), max(1, height // int(random.integers(4, 10)))
    row = y // height
    column = (x + row % 2 * (width // 2)) // width
    shade = random.integers(-25, 26, (row.max() + 1, column.max() + 1, 1))
    wall = (random.integers(40, 216, 3) + shade[row, column]).clip(0, 255)
    wall[(y % height < joint) | ((x + row % 2 * (width // 2)) % width < joint)] = random.integers(0, 256, 3)
    return _resized(wall, side)


def rings(random: Generator, side: int) -> Image.Image:
    """Rings around two points that cross, as in wood and water."""
    y, x = np.indices((side, side))
    total = np.zeros((side, side), np.int64)
    for _ in range(2):
        (top, left), width = random.integers(-side, 2 * side, 2), random.integers(max(2, side // 16), side)
        total += np.sqrt((y - top) ** 2 + (x - left) ** 2).astype(np.int64) * 256 // int(width)
    wave = np.abs(total % 512 - 256).clip(0, 255)[..., None]
    dark, bright = random.integers(0, 256, (2, 3))
    return _resized(dark + (bright - dark) * wave // 255, side)


def scribbles(random: Generator, side: int) -> Image.Image:
    """Lines of strokes on paper, as in handwriting."""
    paper = int(random.integers(170, 256))
    image = Image.new("RGB", (DRAWN, DRAWN), (paper,) * 3)
    draw, ink, height = ImageDraw.Draw(image), _colour(random, 110), int(random.integers(8, 40))
    for top in range(height // 3, DRAWN, height + height // 3):
        x = int(random.integers(0, height))
        while x < DRAWN:
            strokes = [(x + int(right), top + int(down)) for right, down in random.integers(0, height, (4, 2))]
            draw.line(strokes, ink, max(1, height // 10))
            x += height + (height if random.random() < 0.2 else 0)
    return image.resize((side, side), Image.Resampling.BOX if side < DRAWN else Image.Resampling.BICUBIC)


CHOOSING: Mapping[str, Kind] = {"noise": noise, "clouds": clouds, "stripes": stripes, "shapes": shapes}
MEASURING: Mapping[str, Kind] = {"cells": cells, "bricks": bricks, "rings": rings, "scribbles": scribbles}


def made(kinds: Mapping[str, Kind], side: int, count: int = 20) -> Pixels:
    """Return ``count`` pictures of each of ``kinds``, uint8 (N, side, side, 3)."""
    return np.stack(
        [
            np.asarray(kind(np.random.default_rng([number, index]), side))
            for number, kind in enumerate(kinds.values())
            for index in range(count)
        ]
    )


def _colour(random: Generator, brightest: int = 256) -> tuple[int, int, int]:
    red, green, blue = random.integers(0, brightest, 3).tolist()
    return red, green, blue


def _resized(values: NDArray[np.int64], side: int, how: Image.Resampling = Image.Resampling.NEAREST) -> Image.Image:
    return Image.fromarray(values.astype(np.uint8)).resize((side, side), how)
