"""Six tall landmarks. Each is drawn at a Pen's origin, stands on y = 0, and is about 1 high.

Proportions, numbers of parts and colours are sampled from the given generator.
"""

import itertools

import numpy as np
from numpy.random import Generator

from stages.landmarks.sources.drawings.pen import BRICK, LIT_WINDOW, METAL, PLASTER, ROOF, STONE, Pen, arc, pick


def lattice_tower(pen: Pen, random: Generator) -> None:
    iron, base, bend = pick(METAL, random), random.uniform(0.17, 0.3), random.uniform(1.3, 2.6)
    levels = np.linspace(0, 0.93, int(random.integers(7, 12)))
    half = base * (1 - levels) ** bend + 0.014
    for side in (-1, 1):
        edge = [(side * w, y) for w, y in zip(half, levels, strict=True)]
        pen.line(edge, 0.03, iron, 0.9 + 0.25 * side * pen.light.side)
        pen.line([(0.45 * x, y) for x, y in edge[:-3]], 0.016, iron, 0.75)
    for low, (y0, y1) in enumerate(itertools.pairwise(levels)):
        w0, w1 = half[low], half[low + 1]
        pen.line([(-w0, y0), (w1, y1)], 0.013, iron, 0.85)
        pen.line([(w0, y0), (-w1, y1)], 0.013, iron, 0.85)
    if random.random() < 0.7:
        pen.line(arc(0, levels[0], base * 0.62, levels[1] * 1.2), 0.022, iron, 0.8)
    for level in (2, len(levels) // 2 + 1):
        pen.box(-half[level] - 0.022, half[level] + 0.022, levels[level] - 0.012, levels[level] + 0.018, iron, 0.7)
    pen.box(-0.008, 0.008, 0.92, 1.06, iron)


def lighthouse(pen: Pen, random: Generator) -> None:
    white, band = pick(PLASTER, random), pick([(190, 50, 44), (40, 44, 52), (60, 90, 150), *STONE], random)
    wide, slim = random.uniform(0.08, 0.15), random.uniform(0.5, 0.8)
    bands, high = int(random.choice([1, 1, 3, 4, 5, 7])), random.uniform(0.74, 0.82)
    pen.polygon([(-0.4, -0.02), (-0.25, 0.06), (0.2, 0.07), (0.42, -0.02)], (104, 98, 92))
    if random.random() < 0.5:
        side = random.choice([-1, 1]) * 0.24
        pen.box(side - 0.11, side + 0.11, 0.03, 0.15, white, 0.9)
        pen.polygon([(side - 0.13, 0.15), (side + 0.13, 0.15), (side, 0.23)], pick(ROOF, random))
    for part in range(bands):
        low, up = part / bands, (part + 1) / bands
        profile = [(wide * (1 - (1 - slim) * at), 0.04 + (high - 0.04) * at) for at in (low, up)]
        pen.round(0, profile, band if part % 2 else white)
    top = wide * slim
    pen.box(-top * 1.35, top * 1.35, high, high + 0.022, band, 0.7)
    lantern = LIT_WINDOW if pen.light.night else (150, 176, 190)
    pen.round(0, [(top * 0.7, high + 0.02), (top * 0.7, high + 0.11)], lantern)
    pen.round(0, [(top * 0.85, high + 0.11), (top * 0.5, high + 0.16), (0.005, high + 0.19)], band, 0.9)
    for y in np.linspace(0.2, high - 0.15, int(random.integers(1, 4))):
        pen.box(-0.015, 0.015, y, y + 0.045, (58, 62, 70))


def obelisk(pen: Pen, random: Generator) -> None:
    stone, wide, slim = pick(STONE + PLASTER, random), random.uniform(0.05, 0.1), random.uniform(0.55, 0.8)
    edge, light = random.uniform(-0.6, 0.6), 0.16 * pen.light.side
    steps, foot = int(random.integers(1, 5)), random.uniform(0.05, 0.14)
    for step in range(steps):
        half = wide * (1.6 + 0.7 * (steps - step))
        pen.box(-half, half, step * 0.025, (step + 1) * 0.025, stone, 0.8 + 0.05 * step)
    low = steps * 0.025
    pen.box(-wide * 1.45, wide * 1.45, low, low + foot, stone, 0.9)
    high, top = 1 - wide * 1.5, wide * slim
    low += foot
    for side in (-1, 1):
        shade = 0.9 + side * light
        pen.polygon([(side * wide, low), (edge * wide, low), (edge * top, high), (side * top, high)], stone, shade)
        pen.polygon([(side * top, high), (edge * top, high), (0, 1)], stone, shade * 1.08)
    if random.random() < 0.4:
        for y in np.linspace(low + 0.1, high - 0.1, 6):
            pen.box(-wide * 0.3, wide * 0.3, y, y + 0.05, stone, 0.72)


def pagoda(pen: Pen, random: Generator) -> None:
    wall, roof = pick([(170, 60, 48), *PLASTER, *BRICK], random), pick([*ROOF, (70, 90, 70)], random)
    tiers, base, slim = int(random.integers(3, 8)), random.uniform(0.17, 0.28), random.uniform(0.35, 0.65)
    storey, lift = 0.84 / tiers, random.uniform(0.02, 0.05)
    pen.box(-base * 1.35, base * 1.35, 0, 0.035, (150, 146, 138))
    for tier in range(tiers):
        y, half = 0.035 + tier * storey, base * (1 - (1 - slim) * tier / tiers)
        pen.round(0, [(half * 0.8, y), (half * 0.8, y + storey * 0.62)], wall)
        pen.windows(-half * 0.7, half * 0.7, y, y + storey * 0.55, 3, 1, random)
        eaves, ridge = y + storey * 0.5, y + storey
        wide = half * 1.45
        curl = [(-wide, eaves + lift), (-wide * 0.75, eaves), (wide * 0.75, eaves), (wide, eaves + lift)]
        pen.polygon([*curl, (half * 0.75, ridge), (-half * 0.75, ridge)], roof)
        pen.line(curl, 0.014, roof, 0.65)
    pen.line([(0, 0.85), (0, 1.03)], 0.018, roof, 0.8)
    pen.disc(0, 0.92, 0.022, roof, 0.9)


def twin_towers(pen: Pen, random: Generator) -> None:
    skin = pick([(150, 170, 190), (176, 176, 172), (96, 112, 128), (190, 170, 140)], random)
    half, crown = random.uniform(0.09, 0.15), random.integers(3)
    gap = half + random.uniform(0.03, 0.14)
    high, rows = random.uniform(0.78, 0.88), int(random.integers(10, 18))
    if random.random() < 0.6:
        y = high * random.uniform(0.4, 0.65)
        pen.box(-gap, gap, y, y + 0.035, skin, 0.75)
    for x in (-gap, gap):
        pen.round(x, [(half, 0), (half, high)], skin)
        pen.windows(x - half * 0.92, x + half * 0.92, 0.03, high - 0.01, 5, rows, random)
        if crown == 0:
            pen.round(x, [(half, high), (half * 0.45, high + 0.09), (0.008, high + 0.12), (0.006, high + 0.22)], skin)
        elif crown == 1:
            pen.box(x - half * 0.65, x + half * 0.65, high, high + 0.06, skin, 0.85)
            pen.line([(x, high + 0.06), (x, high + 0.2)], 0.012, skin)
        else:
            pen.polygon([(x - half, high), (x + half, high), (x + half * np.sign(x), high + 0.1)], skin, 0.9)


def windmill(pen: Pen, random: Generator) -> None:
    body, cap = pick(PLASTER + BRICK + STONE, random), pick([*ROOF, (96, 74, 54)], random)
    wide, high, slim = random.uniform(0.15, 0.24), random.uniform(0.55, 0.68), random.uniform(0.5, 0.75)
    pen.round(0, [(wide, 0), (wide * (slim + 0.1), high * 0.6), (wide * slim, high)], body)
    pen.round(0, [(wide * slim * 1.1, high), (wide * slim * 0.8, high + 0.07), (0.01, high + 0.13)], cap)
    pen.windows(-wide * 0.4, wide * 0.4, high * 0.3, high * 0.9, 1, 2, random)
    pen.polygon([(-0.035, 0), *arc(0, 0.1, 0.035, 0.03), (0.035, 0)], (70, 50, 38))
    if random.random() < 0.5:
        pen.box(-wide * 1.25, wide * 1.25, high * 0.32, high * 0.35, cap, 0.8)
    hub, length, turn = high + 0.03, random.uniform(0.36, 0.48), random.uniform(0, np.pi / 2)
    cloth = pick([(232, 226, 210), (150, 120, 90), (214, 190, 160)], random)
    for sail in range(4):
        along = np.array([np.cos(turn + sail * np.pi / 2), np.sin(turn + sail * np.pi / 2)])
        across = np.array([-along[1], along[0]]) * random.uniform(0.075, 0.1)
        corners = [0.16 * along, length * along, length * along + across, 0.16 * along + across]
        pen.polygon([(float(x), float(hub + y)) for x, y in corners], cloth)
        for part in np.linspace(0.16, length, 6):
            x, y = part * along
            pen.line([(x, hub + y), (x + across[0], hub + y + across[1])], 0.008, cap, 0.6)
        pen.line([(0, hub), (float(length * along[0]), float(hub + length * along[1]))], 0.02, cap, 0.7)
    pen.disc(0, hub, 0.025, cap, 0.5)
