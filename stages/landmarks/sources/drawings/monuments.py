"""Six wide landmarks. Each is drawn at a Pen's origin, stands on y = 0, and is about 1 high or from -1 to 1 wide.

Proportions, numbers of parts and colours are sampled from the given generator.
"""

import numpy as np
from numpy.random import Generator

from stages.landmarks.sources.drawings.pen import BRICK, METAL, PLASTER, ROOF, STONE, Colour, Pen, arc, pick


def arch_bridge(pen: Pen, random: Generator) -> None:
    stone, arches = pick(STONE + BRICK, random), int(random.integers(2, 7))
    deck, hump, pier = random.uniform(0.28, 0.5), random.uniform(0, 0.14), random.uniform(0.1, 0.22)
    edges = np.linspace(-1, 1, arches + 1)
    span = edges[1] - edges[0]
    top = [(float(x), deck + hump * float(1 - x * x)) for x in np.linspace(-1.15, 1.15, 13)]
    under = [(-1.15, 0.0)]
    for middle in (edges[:-1] + edges[1:]) / 2:
        half, spring = span / 2 * (1 - pier), deck * 0.25
        rise = min(half * random.uniform(0.85, 1.05), (deck + hump * (1 - middle**2)) * 0.85 - spring)
        under += [(middle - half, 0), *arc(middle, spring, half, rise), (middle + half, 0)]
    outline = [*top, (1.15, 0.0), *reversed(under)]
    pen.polygon([(x + 0.03, y - 0.015) for x, y in outline], stone, 0.55)
    pen.polygon(outline, stone)
    pen.line([(x, y + 0.012) for x, y in top], 0.035, stone, 1.12)
    if random.random() < 0.4:
        for x in edges[1:-1]:
            pen.box(x - 0.03, x + 0.03, deck, deck + hump * (1 - x * x) + 0.1, stone, 0.92)


def suspension_bridge(pen: Pen, random: Generator) -> None:
    colour, cable = pick([*METAL, *STONE, (110, 140, 130)], random), random.uniform(0.006, 0.014)
    deck, top, tower = random.uniform(0.14, 0.26), random.uniform(0.55, 0.85), random.uniform(0.45, 0.62)
    for x in (-tower, tower):
        wide = random.uniform(0.03, 0.06)
        for side in (-1, 1):
            leg, shade = x + side * wide, 0.95 + 0.15 * side * pen.light.side
            pen.box(leg - 0.018, leg + 0.018, 0, top, colour, shade)
        for y in np.linspace(deck + 0.1, top - 0.02, int(random.integers(2, 4))):
            pen.box(x - wide, x + wide, y - 0.02, y + 0.02, colour, 0.85)
    sag = deck + random.uniform(0.03, 0.1)
    main = [
        (float(x), sag + (top - sag) * float(x / tower) ** 2)
        for x in np.linspace(-tower, tower, random.integers(9, 18))
    ]
    for x, y in main:
        pen.line([(x, deck), (x, y)], cable * 0.7, colour, 0.9)
    pen.line(main, cable * 1.6, colour)
    for side in (-1, 1):
        pen.line([(side * tower, top), (side * 1.15, deck)], cable * 1.6, colour)
        for part in np.linspace(0.2, 0.8, 4):
            x = side * (tower + (1.15 - tower) * part)
            pen.line([(x, deck), (x, top + (deck - top) * part)], cable * 0.7, colour, 0.9)
    pen.box(-1.2, 1.2, deck - 0.035, deck, colour, 0.8)


def castle(pen: Pen, random: Generator) -> None:
    stone, roof, half = pick(STONE, random), pick(ROOF, random), random.uniform(0.5, 0.72)
    roofed, wall = random.random() < 0.55, random.uniform(0.24, 0.36)
    towers = [(x, wall + random.uniform(0.08, 0.22), random.uniform(0.08, 0.12)) for x in (-half, half)]
    keep = random.uniform(0.62, 0.8)
    towers.insert(0, (random.uniform(-0.25, 0.25), keep, random.uniform(0.11, 0.17)))
    if random.random() < 0.5:
        towers.insert(0, (random.uniform(-0.4, 0.4), keep * random.uniform(0.75, 1.1), 0.07))
    for index, (x, high, wide) in enumerate(towers):
        if index == len(towers) - 2:  # the wall is in front of the keep and behind the two corner towers
            pen.box(-half, half, 0, wall, stone, 0.94)
            _battlements(pen, -half, half, wall, stone, 0.94)
        pen.round(x, [(wide, 0), (wide, high)], stone)
        pen.windows(x - wide * 0.5, x + wide * 0.5, high * 0.5, high * 0.92, 1 if wide < 0.1 else 2, 2, random)
        if roofed:
            pen.round(x, [(wide * 1.2, high), (0.006, high + wide * random.uniform(1.6, 2.6))], roof)
        else:
            pen.box(x - wide * 1.12, x + wide * 1.12, high - 0.03, high, stone, 0.85)
            _battlements(pen, x - wide * 1.12, x + wide * 1.12, high, stone, 1.0)
    pen.polygon([(-0.07, 0), *arc(0, 0.11, 0.07, 0.07), (0.07, 0)], (50, 40, 36))


def _battlements(pen: Pen, left: float, right: float, y: float, colour: Colour, shade: float) -> None:
    count = max(3, round((right - left) / 0.06))
    tooth = (right - left) / (2 * count - 1)
    for index in range(count):
        pen.box(left + 2 * index * tooth, left + (2 * index + 1) * tooth, y - 0.01, y + 0.04, colour, shade)


def domed_cathedral(pen: Pen, random: Generator) -> None:
    wall, roof = pick(STONE + PLASTER, random), pick([*ROOF, (190, 160, 84), (110, 150, 140)], random)
    half, nave, drum = random.uniform(0.38, 0.6), random.uniform(0.26, 0.4), random.uniform(0.16, 0.26)
    base, dome = nave + random.uniform(0.1, 0.18), random.uniform(0.2, 0.3)
    for side in (-1, 1)[: random.integers(3)]:
        x, high = side * half * random.uniform(0.8, 1.0), nave + random.uniform(0.1, 0.3)
        pen.round(x, [(0.075, 0), (0.075, high)], wall, 0.95)
        pen.round(x, [(0.075, high), (0.065, high + 0.05), (0.03, high + 0.09), (0.004, high + 0.14)], roof)
    pen.round(0, [(drum, nave), (drum, base)], wall)
    angles = np.linspace(0, np.pi / 2, 7)
    pen.round(0, [(drum * 1.04 * float(np.cos(a)) + 0.008, base + dome * float(np.sin(a))) for a in angles], roof)
    top = base + dome
    pen.round(0, [(0.035, top - 0.01), (0.035, top + 0.06), (0.004, top + 0.1)], wall)
    pen.line([(0, top + 0.08), (0, top + 0.17)], 0.012, roof)
    pen.line([(-0.025, top + 0.14), (0.025, top + 0.14)], 0.012, roof)
    pen.box(-half, half, 0, nave, wall)
    if random.random() < 0.6:
        pen.polygon([(-half * 0.5, nave - 0.02), (half * 0.5, nave - 0.02), (0, nave + 0.12)], wall, 1.06)
    pen.box(-half * 1.02, half * 1.02, nave - 0.025, nave, wall, 0.8)
    columns = int(random.integers(4, 9))
    pen.windows(-half, half, nave * 0.3, nave * 0.85, columns, 1, random)
    pen.polygon([(-0.05, 0), *arc(0, 0.12, 0.05, 0.05), (0.05, 0)], (54, 42, 36))


def pyramid(pen: Pen, random: Generator) -> None:
    stone, half, edge = pick(STONE, random), random.uniform(0.6, 0.95), random.uniform(-0.35, 0.35)
    steps = int(random.integers(4, 9)) if random.random() < 0.4 else 0
    beside = [(random.uniform(-1.1, 1.1), random.uniform(0.3, 0.55))] if random.random() < 0.5 else []
    for x, scale in [*beside, (0, 0.85)]:
        own, courses = pen.at(x, 0, scale), steps or 14
        for course in range(courses):
            low, high = course / courses, (course + 1) / courses
            w0, w1 = half * (1 - low), half * (1 - (low + 0.02 if steps else high))
            e0, e1 = edge * (1 - low), edge * (1 - (low if steps else high))
            tone = 1 - 0.07 * (course % 2) + (0.05 * random.random())
            light = 0.22 * pen.light.side
            own.polygon([(-w0, low), (e0, low), (e1, high), (-w1, high)], stone, tone * (0.88 - light))
            own.polygon([(e0, low), (w0, low), (w1, high), (e1, high)], stone, tone * (0.88 + light))
    if steps:
        pen.box(-half * 0.12, half * 0.12, 0.83, 0.95, stone, 0.8)


def stone_circle(pen: Pen, random: Generator) -> None:
    stone, count = pick([(150, 148, 142), (168, 160, 146), (128, 126, 124)], random), int(random.integers(9, 15))
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False) + random.uniform(0, 1)
    linteled, previous = random.uniform(0.3, 0.8), None
    for angle in sorted(angles, key=lambda angle: float(-np.sin(angle))):  # the far ones first
        x, near = 0.9 * float(np.cos(angle)), 1 - 0.3 * float(np.sin(angle))
        y, high = 0.13 * float(np.sin(angle)), random.uniform(0.32, 0.48) * near
        pen.disc(x - 0.06 * pen.light.side, y, 0.13 * near, stone, 0.45, flat=0.2)  # its shadow
        if random.random() < 0.15:
            pen.polygon([(x - 0.14, y), (x + 0.14, y), (x + 0.12, y + 0.08), (x - 0.1, y + 0.09)], stone, 0.8)
            previous = None
            continue
        half, lean = random.uniform(0.06, 0.09) * near, random.uniform(-0.03, 0.03)
        left, right, top = x - 0.85 * half + lean, x + 0.85 * half + lean, y + high
        pen.polygon([(x - half, y), (x, y), (x + lean, top), (left, top)], stone, 0.95 - 0.2 * pen.light.side)
        pen.polygon([(x, y), (x + half, y), (right, top), (x + lean, top)], stone, 0.95 + 0.2 * pen.light.side)
        if previous is not None and random.random() < linteled:
            left, right = sorted([previous, x])
            if right - left < 0.55:
                pen.box(left - 0.06, right + 0.06, top - 0.01, top + 0.06, stone, 1.02)
        previous = x
