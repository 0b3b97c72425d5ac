"""More pictures for `benchmarks.digits`: pens and papers, telephones, screenshots, file formats, and what is no digit."""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from benchmarks.digit_pictures import (
    Bytes,
    Rng,
    box,
    enlarged,
    grey,
    light,
    named,
    photograph,
    saved,
    strength,
    written,
)
from stages.mnist.learning import strangers

PAPERS = [(250, 240, 190), (200, 225, 250), (250, 205, 215), (205, 240, 205), (225, 225, 225), (240, 215, 170)]
BLUES = [(30, 45, 150), (20, 60, 180), (55, 70, 160)]


def squared_paper(digit: Bytes, rng: Rng) -> bytes:
    """A photograph of a sheet with blue-grey squares, the digit over several of them."""
    paper = light(rng, 800, 600, rng.uniform(200, 220), 235)
    step, tone = int(rng.integers(24, 60)), rng.uniform(0.7, 0.9)
    paper[int(rng.integers(step)) :: step] *= tone
    paper[:, int(rng.integers(step)) :: step] *= tone
    return photograph(rng, written(rng, digit, paper, rng.uniform(0.1, 0.3)), rng.uniform(2, 6))


def _in_colours(rng: Rng, digit: Bytes, paper: tuple[int, ...], pen: tuple[int, ...]) -> bytes:
    alpha = 1 - written(rng, digit, np.ones((700, 560)), 0)
    shown = np.array(paper, float) * (1 - alpha[..., None]) + np.array(pen, float) * alpha[..., None]
    return photograph(rng, shown * light(rng, 700, 560, 0.85, 1)[..., None], 4)


def blue_ballpoint(digit: Bytes, rng: Rng) -> bytes:
    return _in_colours(rng, digit, (245, 245, 240), BLUES[rng.integers(len(BLUES))])


def coloured_paper(digit: Bytes, rng: Rng) -> bytes:
    pens = [(20, 20, 20), *BLUES, (150, 20, 30)]
    return _in_colours(rng, digit, PAPERS[rng.integers(len(PAPERS))], pens[rng.integers(len(pens))])


def near_the_edge(digit: Bytes, rng: Rng) -> bytes:
    """The digit is close to a corner, but whole."""
    side = int(rng.integers(150, 300))
    paper = light(rng, 640, 480, 205, 235)
    left, top, right, bottom = (edge * side // 28 for edge in box(digit))
    ink = strength(digit, side)[top:bottom, left:right]
    edge = int(rng.integers(6, 20))
    top = edge if rng.random() < 0.5 else 640 - edge - ink.shape[0]
    left = edge if rng.random() < 0.5 else 480 - edge - ink.shape[1]
    paper[top : top + ink.shape[0], left : left + ink.shape[1]] *= 1 - 0.8 * ink
    return photograph(rng, paper, 3)


def small_on_a_sheet(digit: Bytes, rng: Rng) -> bytes:
    return photograph(rng, written(rng, digit, light(rng, 1200, 900, 200, 235), 0.2, (0.09, 0.16)), 4)


def filling_the_picture(digit: Bytes, rng: Rng) -> bytes:
    return photograph(rng, written(rng, digit, light(rng, 500, 500, 200, 235), 0.2, (0.9, 1.0)), 4)


def finger_in_the_picture(digit: Bytes, rng: Rng) -> bytes:
    """A finger comes in from an edge, and stays clear of the digit."""
    sheet = Image.fromarray(written(rng, digit, light(rng, 800, 600, 205, 235), 0.2, (0.3, 0.4)).astype(np.uint8))
    skin = Image.new("L", sheet.size, int(rng.uniform(110, 190)))
    mask = Image.new("L", sheet.size)
    width, x = int(rng.integers(60, 110)), int(rng.integers(0, 600))
    length = int(rng.integers(60, 140))
    ImageDraw.Draw(mask).rounded_rectangle([x - width // 2, 800 - length, x + width // 2, 900], width // 2, 255)
    sheet.paste(skin, mask=mask.filter(ImageFilter.GaussianBlur(2)))
    return photograph(rng, np.asarray(sheet, float), 4)


def quality_20(digit: Bytes, rng: Rng) -> bytes:
    paper = light(rng, 600, 480, 195, 235)
    return photograph(rng, written(rng, digit, paper, rng.uniform(0.15, 0.4)), 4, 20)


def turned_telephone(digit: Bytes, rng: Rng) -> bytes:
    """The pixels lie on a side or upside down, as the file's EXIF data tells."""
    upright = grey(written(rng, digit, light(rng, 640, 480, 200, 235), 0.2))
    turn = Image.Transpose
    how, orientation = [(turn.ROTATE_90, 6), (turn.ROTATE_180, 3), (turn.ROTATE_270, 8)][rng.integers(3)]
    exif = Image.Exif()
    exif[274] = orientation
    buffer = io.BytesIO()
    upright.transpose(how).save(buffer, "JPEG", quality=85, exif=exif)
    return buffer.getvalue()


def drawing_app(digit: Bytes, rng: Rng) -> bytes:
    """A screenshot of a program to draw with: a bar with buttons above or beside a canvas with an edge."""
    side, bar = int(rng.integers(260, 480)), int(rng.integers(36, 64))
    dark = rng.random() < 0.4
    ground, chrome = (30, 55) if dark else (255, int(rng.integers(200, 245)))
    canvas = np.asarray(enlarged(digit, side), np.uint8)
    ink = Image.fromarray(np.maximum(canvas, ground).astype(np.uint8) if dark else 255 - canvas)
    screen = Image.new("L", (side + 40, side + bar + 40), chrome)
    screen.paste(ink, (20, bar + 20))
    draw = ImageDraw.Draw(screen)
    draw.rectangle([19, bar + 19, side + 20, side + bar + 20], outline=120)
    for number in range(int(rng.integers(3, 7))):
        left = 12 + number * (bar - 4)
        draw.rounded_rectangle([left, 10, left + bar - 16, bar - 6], 4, fill=int(rng.integers(60, 220)), outline=90)
    return saved(screen)


def one_bit(digit: Bytes, rng: Rng) -> bytes:
    image = enlarged(digit, int(rng.integers(56, 400))).point(lambda tone: 255 if tone > 110 else 0)
    image = image if rng.random() < 0.5 else ImageOps.invert(image)
    return saved(image.convert("1", dither=Image.Dither.NONE))


def palette_with_transparency(digit: Bytes, rng: Rng) -> bytes:
    side = int(rng.integers(28, 300))
    ink = np.asarray(enlarged(digit, side)) > 110
    image = Image.fromarray(ink.astype(np.uint8), "P")
    image.putpalette([255, 255, 255, *rng.integers(0, 120, 3).tolist()])
    return saved(image, transparency=0)


def _thickened(digit: Bytes, rng: Rng, size: int, darkness: float, noise: float) -> bytes:
    """Write ``digit`` on paper with strokes that are thicker, or thinner if ``size`` is negative."""
    image, side = enlarged(digit, 336), 336
    image = image.filter((ImageFilter.MaxFilter if size > 0 else ImageFilter.MinFilter)(abs(size)))
    paper = light(rng, side + 200, side + 160, 205, 235)
    top, left = int(rng.integers(40, 160)), int(rng.integers(40, 120))
    paper[top : top + side, left : left + side] *= 1 - darkness * np.asarray(image, float) / 255
    return photograph(rng, paper, noise)


def thick_marker(digit: Bytes, rng: Rng) -> bytes:
    return _thickened(digit, rng, int(rng.choice([9, 13])), 0.85, 4)


def thin_pencil(digit: Bytes, rng: Rng) -> bytes:
    return _thickened(digit, rng, -int(rng.choice([11, 15])), rng.uniform(0.35, 0.5), 3)


def _on_canvas(form: Bytes, rng: Rng) -> bytes:
    return saved(ImageOps.invert(enlarged(np.pad(form, 4), int(rng.integers(120, 500)))))


def letters(digit: Bytes, rng: Rng) -> bytes:
    return _on_canvas(strangers.printed(rng), rng)


def drawings(digit: Bytes, rng: Rng) -> bytes:
    """Letters, symbols, doodles and scribbles as the model has learnt, of other seeds."""
    return _on_canvas(strangers.drawn(rng), rng)


def two_that_touch(digit: Bytes, rng: Rng) -> bytes:
    return _on_canvas(strangers.touching(rng, digit, digit if rng.random() < 0.5 else digit[::-1, ::-1].copy()), rng)


def blank_paper(digit: Bytes, rng: Rng) -> bytes:
    return photograph(rng, light(rng, 640, 480, rng.uniform(120, 210), 235), rng.uniform(1, 10))


FORMS = named(
    *(squared_paper, blue_ballpoint, coloured_paper, near_the_edge, small_on_a_sheet, filling_the_picture),
    *(finger_in_the_picture, quality_20, turned_telephone, drawing_app, one_bit, palette_with_transparency),
    *(thick_marker, thin_pencil),
)
NONE = named(letters, drawings, two_that_touch, blank_paper)
"""Pictures of no digit: none can be right, so all should be refused."""
