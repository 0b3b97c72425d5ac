"""A pen that draws polygons in a landmark's own units, through a homography, in a picture's light."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Colour = tuple[float, float, float]
"""Red, green and blue, 0 to 255."""

Points = Sequence[tuple[float, float]]

STONE: list[Colour] = [(198, 184, 160), (168, 160, 150), (214, 200, 172), (150, 132, 112), (186, 150, 118)]
PLASTER: list[Colour] = [(236, 232, 224), (226, 210, 182), (206, 196, 190), (228, 196, 160)]
BRICK: list[Colour] = [(160, 92, 70), (142, 78, 62), (176, 116, 88)]
METAL: list[Colour] = [(112, 92, 76), (96, 104, 112), (138, 142, 146), (176, 64, 48)]
ROOF: list[Colour] = [(112, 66, 56), (78, 88, 98), (74, 110, 98), (140, 74, 52), (60, 62, 70)]
LIT_WINDOW: Colour = (255, 214, 130)


@dataclass(frozen=True)
class Light:
    """The light in a picture. ``tint`` multiplies every colour, then ``haze`` (0 to 1) mixes it with the ``air``.

    ``side`` is the sun's position, from -1 (left) to 1 (right). At ``night`` windows shine.
    """

    tint: Colour
    side: float
    air: Colour
    haze: float
    night: bool

    def on(self, colour: Colour) -> tuple[int, int, int]:
        """Return ``colour`` as it appears in this light."""
        haze = self.haze
        parts = zip(colour, self.tint, self.air, strict=True)
        red, green, blue = (min(255, max(0, round(own * tint * (1 - haze) + air * haze))) for own, tint, air in parts)
        return red, green, blue


@dataclass(frozen=True)
class Pen:
    """A pen for drawing in a landmark's own units (y upwards). ``view`` is a 3x3 homography from them to pixels."""

    draw: ImageDraw.ImageDraw
    view: NDArray[np.float64]
    light: Light

    @classmethod
    def upright(cls, image: Image.Image, x: float, y: float, scale: float, light: Light) -> "Pen":
        """Return a pen with its origin at the pixel (x, y) and ``scale`` pixels per unit."""
        return cls(ImageDraw.Draw(image), np.array([[scale, 0, x], [0, -scale, y], [0, 0, 1.0]]), light)

    def polygon(self, points: Points, colour: Colour, shade: float = 1.0) -> None:
        """Fill the polygon through ``points``. ``shade`` multiplies the colour."""
        (a, b, c), (d, e, f), (g, h, i) = self.view.tolist()
        pixels = []
        for x, y in points:
            depth = g * x + h * y + i
            pixels.append(((a * x + b * y + c) / depth, (d * x + e * y + f) / depth))
        red, green, blue = colour
        self.draw.polygon(pixels, fill=self.light.on((red * shade, green * shade, blue * shade)))

    def box(self, left: float, right: float, bottom: float, top: float, colour: Colour, shade: float = 1.0) -> None:
        self.polygon([(left, bottom), (right, bottom), (right, top), (left, top)], colour, shade)

    def line(self, points: Points, width: float, colour: Colour, shade: float = 1.0) -> None:
        """Draw straight strokes from point to point."""
        for (x0, y0), (x1, y1) in itertools.pairwise(points):
            length = float(np.hypot(x1 - x0, y1 - y0)) or 1.0
            dx, dy = -(y1 - y0) / length * width / 2, (x1 - x0) / length * width / 2
            corners = [(x0 + dx, y0 + dy), (x1 + dx, y1 + dy), (x1 - dx, y1 - dy), (x0 - dx, y0 - dy)]
            self.polygon(corners, colour, shade)

    def round(self, x: float, profile: Points, colour: Colour, shade: float = 1.0) -> None:
        """Draw a rotationally symmetric body, lit from the side.

        ``profile`` holds half widths and heights from the bottom up.
        """
        strips = 6
        for strip in range(strips):
            left, right = (2 * edge / strips - 1 for edge in (strip, strip + 1))
            away = (left + right) / 2 - self.light.side * 0.7
            outline = [(x + left * w, y) for w, y in profile] + [(x + right * w, y) for w, y in reversed(profile)]
            self.polygon(outline, colour, shade * (1.08 - 0.28 * away * away))

    def disc(self, x: float, y: float, radius: float, colour: Colour, shade: float = 1.0, flat: float = 1.0) -> None:
        angles = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        around = zip(x + radius * np.cos(angles), y + flat * radius * np.sin(angles), strict=True)
        self.polygon([(float(a), float(b)) for a, b in around], colour, shade)

    def windows(
        self, left: float, right: float, bottom: float, top: float, columns: int, rows: int, random: Generator
    ) -> None:
        """Draw rows of windows. At night some of them are lit."""
        wide, high = (right - left) / columns, (top - bottom) / rows
        lit = random.random((columns, rows)) < 0.45
        glowing = replace(self, light=replace(self.light, tint=(1, 1, 1)))
        for column in range(columns):
            for row in range(rows):
                x, y = left + (column + 0.25) * wide, bottom + (row + 0.25) * high
                shines = self.light.night and lit[column, row]
                pen, colour = (glowing, LIT_WINDOW) if shines else (self, (62, 70, 84))
                pen.box(x, x + wide * 0.5, y, y + high * 0.55, colour)

    def at(self, x: float, y: float, scale: float = 1.0) -> "Pen":
        """Return a pen whose origin is this pen's (x, y), for a smaller or larger drawing."""
        return replace(self, view=self.view @ np.array([[scale, 0, x], [0, scale, y], [0, 0, 1]]))


def pick(colours: Sequence[Colour], random: Generator) -> Colour:
    """Return one of ``colours``, slightly lighter or darker."""
    red, green, blue = colours[int(random.integers(len(colours)))]
    shade = random.uniform(0.85, 1.1)
    return red * shade, green * shade, blue * shade


def arc(x: float, y: float, half: float, rise: float, points: int = 9) -> list[tuple[float, float]]:
    """Return points from the left to the right end of a half ellipse."""
    angles = np.linspace(np.pi, 0, points)
    return [(x + half * float(np.cos(a)), y + rise * float(np.sin(a))) for a in angles]
