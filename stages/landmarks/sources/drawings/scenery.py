"""The surroundings of a landmark in the sample: light and sky, the land behind it, the foreground, the camera."""

import itertools
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from stages.landmarks.sources.drawings.pen import Colour, Light, Pen, pick

SKIES: dict[str, tuple[float, Colour, Colour, Colour]] = {
    # probability; the sky's colour at the top and at the horizon; the tint of everything under it
    "day": (0.34, (86, 138, 206), (196, 218, 236), (1.0, 1.0, 0.98)),
    "pale": (0.16, (150, 178, 204), (222, 226, 226), (0.98, 0.98, 0.98)),
    "overcast": (0.16, (148, 154, 162), (196, 198, 200), (0.8, 0.81, 0.83)),
    "dusk": (0.14, (72, 74, 124), (244, 158, 98), (0.72, 0.55, 0.5)),
    "dawn": (0.08, (128, 142, 190), (246, 206, 190), (0.9, 0.8, 0.8)),
    "night": (0.12, (14, 18, 42), (52, 58, 94), (0.34, 0.37, 0.5)),
}
SHORE = 0.3
"""Fraction of the ground, nearest to the camera, where foreground objects stand."""

FLOODLIT: Colour = (0.95, 0.8, 0.56)
GRASS: list[Colour] = [(106, 132, 70), (128, 146, 84), (92, 112, 66)]
GROUND: list[Colour] = [*GRASS, (206, 186, 142), (168, 162, 152), (138, 126, 108)]
WATER: list[Colour] = [(70, 106, 132), (88, 128, 136), (62, 86, 112)]
LEAVES: list[Colour] = [(58, 88, 46), (76, 104, 52), (48, 72, 48), (120, 104, 50)]
CLOTHES: list[Colour] = [(170, 48, 44), (48, 70, 120), (228, 220, 208), (40, 40, 46), (206, 160, 60)]


@dataclass(frozen=True)
class Weather:
    """The sky's colours at the top and at the horizon, the light under it, and the cloud cover (0 to 1)."""

    top: Colour
    horizon: Colour
    light: Light
    clouds: float


def weather(random: Generator) -> Weather:
    kind = str(random.choice(list(SKIES), p=[chance for chance, *_ in SKIES.values()]))
    _, top, horizon, tint = SKIES[kind]
    haze = random.uniform(0, 0.15) if random.random() < 0.9 else random.uniform(0.2, 0.35)
    clouds = random.uniform(0.1, 0.9) if random.random() < 0.7 else 0.0
    light = Light(tint, random.uniform(-1, 1), horizon, haze, night=kind == "night")
    return Weather(top, horizon, light, clouds)


def sky(width: int, height: int, horizon: float, now: Weather, random: Generator) -> Image.Image:
    """Draw a gradient from the top to the ``horizon`` (pixels from the top), with sun, moon or stars, and clouds."""
    at = np.clip(np.arange(height) / horizon, 0, 1)[:, None] ** 1.3
    column = np.array(now.top) * (1 - at) + np.array(now.horizon) * at
    line = Image.fromarray(column.round().astype(np.uint8)[:, None])
    image = line.resize((width, height), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(image)
    if now.light.night:
        for x, y in random.random((25, 2)) * (width, horizon):
            draw.rectangle((x, y, x + 1, y + 1), fill=(190, 196, 214))
    if random.random() < 0.3:
        x, y, radius = width * (0.5 + 0.45 * now.light.side), horizon * random.uniform(0.15, 0.8), height * 0.035
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(255, 246, 218))
    if now.clouds:
        billows = 0.65 * _smooth(random.random((5, 4))) + 0.35 * _smooth(random.random((13, 9)))
        cover = np.clip((billows - 0.75 + 0.45 * now.clouds) * 3.5, 0, 0.85)
        mask = Image.fromarray((cover * 255).astype(np.uint8)).resize((width, height), Image.Resampling.BILINEAR)
        red, green, blue = (np.array(now.horizon) * 0.55 + 255 * 0.45 * np.array(now.light.tint)).round().astype(int)
        image.paste((int(red), int(green), int(blue)), mask=mask)
    return image


def _smooth(noise: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return ``noise`` enlarged to 48 rows of 64."""
    return np.asarray(Image.fromarray(noise.astype(np.float32)).resize((64, 48), Image.Resampling.BICUBIC))


def land(image: Image.Image, horizon: float, light: Light, random: Generator) -> Colour | None:
    """Draw hills, far buildings, and the ground up to the ``horizon``, or water with a shore in front.

    Returns the shore's colour if there is water, for the island under a building in the water.
    """
    width, height = image.size
    far = Pen.upright(image, 0, horizon, width, replace(light, haze=min(0.9, light.haze + 0.35)))
    for layer in range(int(random.integers(3))):
        heights = random.uniform(0.02, 0.2 - 0.05 * layer) * random.random(9)
        across = np.linspace(0, 1, 33)
        ridge = np.interp(across, np.linspace(0, 1, 9), heights) + 0.01 * random.random(33)
        outline = [(0, -0.02), *zip(across.tolist(), ridge.tolist(), strict=True), (1, -0.02)]
        far.polygon(outline, pick([(96, 112, 116), *GRASS], random))
    for _ in range(int(random.choice([0, 0, 2, 4, 7, 10]))):
        building = SKYLINE[random.integers(len(SKYLINE))]
        building(far.at(random.random(), -0.01, random.uniform(0.1, 0.34)), random)
    near, depth = Pen.upright(image, 0, horizon, width, light), (height - horizon) / width * 1.05
    ground = pick(GROUND, random)
    water = pick(WATER, random) if random.random() < 0.3 else None
    for step, (above, below) in enumerate(itertools.pairwise(np.linspace(0, depth, 6))):
        near.box(0, 1, -below - 0.01, -above, water or ground, 0.86 + 0.05 * step)
    for _ in range(25):
        x, y, long = random.random(), -depth * random.random() ** 1.5, random.uniform(0.02, 0.12)
        near.line([(x, y), (x + long, y)], 0.006, water or ground, random.uniform(0.82, 1.12))
    if water:
        bank = -depth * (1 - SHORE) + 0.02 * random.random(9)
        outline = [(0, -depth), *zip(np.linspace(0, 1, 9).tolist(), bank.tolist(), strict=True), (1, -depth)]
        near.polygon(outline, ground)
    return ground if water else None


def house(pen: Pen, random: Generator) -> None:
    wide, high = random.uniform(0.2, 0.5), random.uniform(0.2, 0.45)
    roof = [(-wide * 1.1, high), (wide * 1.1, high), (0, high + wide * 0.7)]
    pen.box(-wide, wide, 0, high, pick([(214, 200, 180), (176, 150, 130)], random))
    pen.polygon(roof, pick([(130, 74, 58), (88, 86, 92)], random))
    pen.windows(-wide, wide, 0.02, high, 3, 1, random)


def block(pen: Pen, random: Generator) -> None:
    wide, high = random.uniform(0.1, 0.26), random.uniform(0.5, 1.2)
    pen.box(-wide, wide, 0, high, pick([(150, 156, 164), (184, 176, 164), (118, 126, 140)], random))
    pen.windows(-wide, wide, 0, high, 4, 8, random)


def chimney(pen: Pen, random: Generator) -> None:
    high = random.uniform(0.7, 1.3)
    pen.round(0, [(0.05, 0), (0.032, high)], pick([(150, 90, 74), (170, 166, 160)], random))


def steeple(pen: Pen, random: Generator) -> None:
    wall, roof = pick([(200, 190, 176), (164, 140, 122)], random), pick([(96, 104, 104), (120, 72, 60)], random)
    pen.box(-0.34, 0.06, 0, 0.26, wall, 0.9)
    pen.box(-0.08, 0.08, 0, 0.6, wall)
    pen.polygon([(-0.09, 0.6), (0.09, 0.6), (0, random.uniform(0.85, 1.2))], roof)


def pylon(pen: Pen, random: Generator) -> None:
    for y in np.linspace(0, 0.9, 6):
        half = 0.16 * (1 - y) + 0.01
        pen.line([(-half, y), (0.16 * (0.85 - y), y + 0.15)], 0.02, (110, 112, 116))
        pen.line([(half, y), (-0.16 * (0.85 - y), y + 0.15)], 0.02, (110, 112, 116))
    for y in (0.7, 0.85):
        pen.box(-0.2, 0.2, y, y + 0.02, (110, 112, 116))


SKYLINE = (house, house, block, block, chimney, steeple, pylon)


def tree(pen: Pen, random: Generator) -> None:
    leaves, trunk = pick(LEAVES, random), (84, 66, 52)
    pen.box(-0.03, 0.03, 0, 0.5, trunk)
    if random.random() < 0.35:
        for tier in range(4):
            wide, low = 0.26 - 0.05 * tier, 0.2 + 0.18 * tier
            pen.polygon([(-wide, low), (wide, low), (0, low + 0.3)], leaves, 0.85 + 0.08 * tier)
        return
    for _ in range(9):
        x, y = random.uniform(-0.2, 0.2), random.uniform(0.48, 0.85)
        pen.disc(x, y, random.uniform(0.1, 0.19), leaves, 0.85 + 0.3 * (y - 0.5) + 0.15 * x * pen.light.side)


def lamp(pen: Pen, random: Generator) -> None:
    pen.box(-0.012, 0.012, 0, 0.9, (48, 50, 54))
    pen.line([(0, 0.88), (random.choice([-0.16, 0.16]), 0.93)], 0.02, (48, 50, 54))
    pen.disc(0, 0.93, 0.035, (236, 226, 190))


def person(pen: Pen, random: Generator) -> None:
    pen.polygon([(-0.1, 0), (0.1, 0), (0.08, 0.45), (-0.08, 0.45)], (50, 52, 66))
    pen.polygon([(-0.11, 0.4), (0.11, 0.4), (0.15, 0.78), (-0.15, 0.78)], pick(CLOTHES, random))
    pen.disc(0, 0.88, 0.1, pick([(206, 164, 136), (130, 92, 70)], random))


def foreground(image: Image.Image, horizon: float, light: Light, random: Generator) -> None:
    """Draw trees, lamp posts and people in front of the landmark. A tree may hide a large part of it."""
    width, height = image.size
    near = replace(light, haze=light.haze * 0.5)
    things = [(tree, 0.15, 0.4)] * int(random.choice([0, 0, 0, 1, 2]))
    things += [(lamp, 0.35, 0.7)] * int(random.choice([0, 0, 0, 0, 0, 1, 2]))
    things += [(person, 0.07, 0.24)] * int(random.choice([0, 0, 0, 1, 2, 4]))
    for draw, small, large in things:
        size = random.uniform(small, large)
        foot = horizon + (height - horizon) * min(1.05, 1 - SHORE + 0.1 + 0.5 * size)
        draw(Pen.upright(image, width * random.random(), foot, height * size, near), random)


def photograph(image: Image.Image, now: Weather, random: Generator) -> Image.Image:
    """Return the picture as a camera takes it, with blur, flare, exposure, colour cast and noise."""
    if random.random() < 0.2:
        image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.5, 1.2)))
    pixels = np.asarray(image).astype(np.float32)
    height, width = pixels.shape[:2]
    if not now.light.night and random.random() < 0.1:
        pixels += glare(height, width, 0.5 + 0.5 * now.light.side, random)
    gain = random.uniform(0.8, 1.15) * random.uniform(0.95, 1.05, 3)
    contrast = random.uniform(0.75, 1.15)
    grain = random.uniform(1, 4) if random.random() < 0.75 else random.uniform(4, 10)
    pixels *= (gain * contrast).astype(np.float32)  # in place, because allocating memory takes as long as the product
    pixels += np.float32(110 - 110 * contrast)
    noise = random.standard_normal((*pixels.shape[:2], 1), np.float32)
    noise *= np.float32(grain)
    pixels += noise
    return Image.fromarray(pixels.clip(0, 255, out=pixels).astype(np.uint8))


def glare(height: int, width: int, x: float, random: Generator) -> NDArray[np.float32]:
    """Return the light that the sun at ``x`` (0 to 1), high in the picture, spreads over it: (height, width, 3)."""
    rows, columns = np.ogrid[:height, :width]
    # float64, because processors round exp and hypot differently, which must not show in 8 bits per channel.
    distance = np.hypot(rows - random.uniform(0, 0.4) * height, columns - x * width) / width
    strength = random.uniform(80, 150) * np.exp(-distance / random.uniform(0.2, 0.5))
    return np.multiply.outer(strength, (1.0, 0.95, 0.8)).astype(np.float32)
