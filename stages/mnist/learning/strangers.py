"""Make images in MNIST's form that show no digit, from which a network learns to recognise such images.

Training images are of three kinds. Drawings are letters, symbols, doodles and scribbles: lines on a grid, whose points are
moved at random. Letters in print are in other fonts than those for measuring. Mixtures are made of real digits, such as one
on another, so the network learns that handwritten strokes alone do not make a digit. Characters that look like digits, such
as O, l, S and Z, are left out.
"""

from functools import cache
from importlib import metadata

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from stages.mnist import drawing

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]
Labels = NDArray[np.integer]

LINES = """
A 06-20-46 14-34; A 06-01-20-41-46 03-43; a 42-21-03-05-25-43 41-45-46; a 12-32-43-46 44-24-05-16-36-44; B 00-06 00-30-41-32-03 03-33-44-35-06;
C 41-20-02-04-26-45; D 00-06 00-20-42-44-26-06; d 40-46 43-22-04-16-36-44; E 40-00-06-46 03-33; E 41-20-11-22-03-05-26-45; e 03-43-32-12-03-05-16-36;
F 40-00-06 03-33; f 31-20-11-16 03-33; G 41-20-02-04-26-45-43-23; H 00-06 40-46 03-43; h 00-06 03-22-33-36; J 10-40 30-35-16-05; j 32-35-16 30-31;
K 00-06 40-03-46; k 10-16 32-14-36; L 00-06-46; M 06-00-23-40-46; m 02-06 03-12-23-26 23-32-43-46; N 06-00-46-40; n 02-06 03-22-33-36;
P 00-06 00-30-41-32-03; p 02-08 03-22-33-35-26-05; Q 20-02-04-26-44-42-20 24-46; R 00-06 00-30-41-32-03-46; r 02-06 03-22-32; T 00-40 20-26;
t 20-25-36 02-42; U 00-04-26-44-40; u 02-05-26-35 32-36; V 00-26-40; v 12-26-32; W 00-16-23-36-40; w 02-16-23-36-42; X 00-46 40-06; x 02-46 42-06;
Y 00-23-40 23-26; i 22-26 20-20; Σ 41-00-23-06-45; Ω 06-16-04-02-20-42-44-36-46; Δ 20-06-46-20; λ 00-20-46 23-06; π 02-42 12-16 32-36;
φ 21-03-25-43-21 20-26; ψ 00-03-25-43-40 20-26; μ 00-06 03-14-33-30-35; ξ 00-40-11-32-03-46-36; θ 20-02-04-26-44-42-20 03-43;
И 00-06-40-46; Я 46-40-10-01-12-43 23-06; Ж 00-46 40-06 20-26; Д 06-05-45-46 15-20-35; Ю 00-06 03-13 30-12-14-36-44-42-30; Э 01-20-42-44-26-05 13-43;
& 46-02-10-21-04-15-25-43; @ 33-22-13-24-33-34-43-41-20-02-04-26-36; # 10-06 40-36 02-42 04-44; % 40-06 00-01-11-10-00 35-36-46-45-35; $ 41-20-01-12-33-44-26-05 20-26;
? 01-20-41-32-23-24 26-26; ! 20-24 26-26; + 21-25 03-43; = 02-42 04-44; * 20-26 01-45 41-05; < 41-03-45; > 01-43-05; ^ 03-20-43; ~ 03-12-34-43;
[ 30-10-16-36; ] 10-30-36-16; { 30-21-22-13-24-25-36; } 10-21-22-33-24-25-16; : 21-21 25-25; semicolon 21-21 24-25-16; " 10-12 30-32;
€ 41-20-02-04-26-45 02-32 04-34; £ 41-30-21-25-06-46 03-33; ¥ 00-23-40 23-26 04-44; § 31-10-12-34-45-26-15 13-32; ¶ 46-40-10-02-23 20-26; ± 21-25 03-43 06-46;
tick 03-16-40; tick 04-15-30; cross 00-46 46-40-06; box 00-40-46-06-00; box 01-41-45-05-01 01-45 41-05; house 03-20-43-46-06-03; house 03-20-43-03 13-16-36-33;
arrow 03-43 21-43-25; arrow 20-26 04-26-44; arrow 26-20 02-20-42; arrow 43-03 21-03-25; heart 22-11-02-04-26-44-42-31-22; star 06-20-46-02-42-06; bolt 30-03-23-16-43-23-30;
smiley 20-02-04-26-44-42-20 12-12 32-32 14-25-34; smiley 20-11-02-04-15-26-35-44-42-31-20 12-12 32-32 14-25-34; smiley 20-11-02-04-15-26-35-44-42-31-20 12-13 32-33 15-24-35; smiley 20-02-04-26-44-42-20 12-12 32-32 15-24-35; smiley 10-12 30-32 04-16-36-44; face 20-02-04-26-44-42-20 12-13 32-33 23-24 15-35;
man 20-10-11-21-31-30-20 21-24 02-42 06-24-46; tree 20-03-13-05-45-33-43-20 25-26; sun 22-13-24-33-22 20-21 26-25 03-12 43-34 01-12 41-32; moon 10-42-44-16-24-22-10;
fish 03-21-43-25-03 43-41-45-43; flag 06-00-41-03; cup 01-06-36-31-01 32-43-34; flower 23-20-23-42-23-44-23-26-23-04-23-02-23; wave 03-12-24-33-42; zigzag 00-41-02-43-04-45-06;
spiral 23-22-32-34-14-11-40-46-06-00; spiral 23-33-24-13-21-42-45-16-03; peace 20-02-04-26-44-42-20 20-26 23-05 23-45; loop 06-00-20-42-24-02-20; knot 00-46-06-40; eye 03-21-43-25-03 23-23;
gamma 00-23-40 23-16-26-23; loops 06-10-26-30-46; ladder 00-06 40-46 01-41 03-43 05-45; net 00-40-46-06-00 20-26 03-43; clock 20-02-04-26-44-42-20 20-23-33; bow 00-06-40-46-00; anchor 20-26 04-26-44 11-31
"""
"""Drawings: a name, then lines through points, each two digits: column 0 to 4, row 0 to 8. Equal points are a dot."""

SIDE = 96
"""Pixels of the ground on which a drawing is made."""

LEARNT = ("STIXGeneral", "STIXGeneralItalic", "STIXGeneralBol", "cmr10", "cmss10", "cmtt10", "cmb10")
LETTERS = "AaBCcDdEeFfGHhiJjKkLMmNnPpQRrTtUuVvWwXxY&@#%$?+=*"
"""Fonts and characters of training images."""

PRINTED = 0.3
"""Fraction of the training images that are in print."""

FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSerif-Italic", "DejaVuSansMono")
CHARACTERS = "AaCcDdEeFfGGhHkKmMnNPpQRrTtUuVvWwXxY&@#%$?+=*<>^~{}€£¥§±√∞≈≠∑∆πΩ☺♥♦♣♠→←↑↓"
"""Fonts and characters for measuring."""


FORMS: list[list[Floats]] = [
    [np.array([[*map(int, point)] for point in line.split("-")], np.float64) for line in form.split() if "-" in line]
    for form in LINES.split(";")
]


def drawn(random: Generator) -> Bytes:
    """Return a letter, symbol, doodle or scribble: uint8 (28, 28)."""
    if random.random() < 0.8:
        lines = FORMS[random.integers(len(FORMS))]
    else:
        lines = [random.uniform(0, 5, (int(random.integers(3, 9)), 2)) for _ in range(int(random.integers(1, 4)))]
    turn, slant = random.normal(0, 0.12), random.normal(0, 0.15)
    matrix = np.array([[1, turn - slant], [-turn, 1]]) * random.uniform(0.7, 1.1, 2)
    grain = random.uniform(0, 0.3)
    moved = [
        _smooth((line + random.normal(0, grain, line.shape)) @ matrix.T, int(random.integers(0, 4))) for line in lines
    ]
    low, high = np.concatenate(moved).min(0), np.concatenate(moved).max(0)
    scale, pen = 64 / max(1, float((high - low).max())), float(random.uniform(3, 11))
    image = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(image)
    for line in moved:
        points = [tuple(point) for point in ((line - (low + high) / 2) * scale + SIDE / 2).tolist()]
        draw.line(points, 255, round(pen), "curve")
        for x, y in (points[0], points[-1]):
            draw.ellipse([x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2], 255)
    return drawing.centred((np.asarray(image) / 255).astype(np.float32))


def _smooth(line: Floats, times: int) -> Floats:
    """Cut the corners (Chaikin 1974, https://doi.org/10.1016/0146-664X(74)90028-8)."""
    for _ in range(times):
        first, second = 0.75 * line[:-1] + 0.25 * line[1:], 0.25 * line[:-1] + 0.75 * line[1:]
        line = np.concatenate([line[:1], np.stack([first, second], 1).reshape(-1, 2), line[-1:]])
    return line


TURNED, CROSSED = {3, 4, 6, 7, 9}, {2, 3, 5, 6, 8, 9}
"""Digits that are no digits when they are mirrored or turned by 90 degrees, and those that are none with an added line."""


def mixed(random: Generator, digits: Bytes, labels: Labels) -> Bytes:
    """Return two of ``digits``, uint8 (N, 28, 28), that touch or lie on each other, or one that is changed: uint8 (28, 28)."""
    one, other = random.integers(len(digits), size=2)
    digit, label, how = digits[one], int(labels[one]), random.random()
    if how < 0.4:
        return touching(random, digit, digits[other])
    if how < 0.6:
        away = int(random.choice([-1, 1])) * random.integers(4, 8)
        mixture = np.maximum(digit, np.roll(digits[other], away, int(random.integers(2))))
    elif how < 0.8 and label in TURNED:
        mixture = digit.T if random.random() < 0.5 else digit[:, ::-1]
    elif label in CROSSED:
        image = Image.fromarray(digit)
        middle, reach, angle = random.integers(11, 18, 2), random.uniform(8, 12), random.uniform(0, np.pi)
        step = np.array([np.cos(angle), np.sin(angle)]) * reach
        ImageDraw.Draw(image).line([*(middle - step).tolist(), *(middle + step).tolist()], 255, 2)
        mixture = np.asarray(image)
    else:
        mixture = np.maximum(digit, np.roll(digits[other], 6, 1))
    return drawing.centred((mixture / 255).astype(np.float32))


def touching(random: Generator, left: Bytes, right: Bytes) -> Bytes:
    """Return two digits side by side, as if they were one: uint8 (28, 28)."""
    parts = [_trimmed(digit) for digit in (left, right)]
    width = sum(part.shape[1] for part in parts) - int(random.integers(3))
    both = np.zeros((28, width), np.uint8)
    for part, start in zip(parts, (0, width - parts[1].shape[1]), strict=True):
        top = int(random.integers(0, 29 - part.shape[0]))
        region = both[top : top + part.shape[0], start : start + part.shape[1]]
        np.maximum(region, part, out=region)
    return drawing.centred((both / 255).astype(np.float32))


def printed(random: Generator) -> Bytes:
    """Return a letter or symbol for measuring, in one of matplotlib's fonts: uint8 (28, 28)."""
    image = Image.new("L", (2 * SIDE, 2 * SIDE))
    font = _font(str(random.choice(FONTS)), SIDE)
    ImageDraw.Draw(image).text((SIDE // 2, SIDE // 4), str(random.choice(list(CHARACTERS))), 255, font)
    return drawing.centred((np.asarray(image) / 255).astype(np.float32))


def typeset(random: Generator) -> Bytes:
    """Return a letter or symbol for training, slightly turned, slanted and stretched: uint8 (28, 28)."""
    image, middle = Image.new("L", (SIDE, SIDE)), SIDE / 2
    font = _font(LEARNT[random.integers(len(LEARNT))], SIDE // 2)
    letter, thicker = LETTERS[random.integers(len(LETTERS))], int(random.integers(0, 3))
    ImageDraw.Draw(image).text((middle, middle), letter, 255, font, "mm", stroke_width=thicker)
    stretch, slant, turn = random.uniform(0.75, 1.3), random.normal(0, 0.2), random.normal(0, 0.1)
    matrix = (stretch, slant, middle * (1 - stretch - slant), turn, 1.0, -middle * turn)
    image = image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return drawing.centred((np.asarray(image) / 255).astype(np.float32))


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    package = metadata.distribution("matplotlib")  # importing it would take seconds
    return ImageFont.truetype(str(package.locate_file(f"matplotlib/mpl-data/fonts/ttf/{name}.ttf")), size)


def made(count: int, digits: Bytes, labels: Labels, seed: int) -> Bytes:
    """Return ``count`` training images, uint8 (count, 28, 28): letters in print, drawings and mixtures of ``digits``."""
    random = np.random.default_rng(seed)

    def one() -> Bytes:
        if random.random() < PRINTED:
            return typeset(random)
        return mixed(random, digits, labels) if random.random() < 1 / 3 else drawn(random)

    return np.stack([one() for _ in range(count)])


def measuring(digits: Bytes, count: int = 300) -> dict[str, Bytes]:
    """Return images for measuring, uint8 (count, 28, 28) of each kind: letters and symbols in print, touching ``digits``."""
    random = np.random.default_rng(0)
    pairs = random.integers(len(digits), size=(count, 2))
    return {
        "letters": np.stack([printed(random) for _ in range(count)]),
        "touching": np.stack([touching(random, digits[left], digits[right]) for left, right in pairs]),
    }


def _trimmed(digit: Bytes) -> Bytes:
    rows, columns = np.flatnonzero(digit.max(1) > 64), np.flatnonzero(digit.max(0) > 64)
    return digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
