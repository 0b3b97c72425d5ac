"""Pictures of one digit as people send them, made from MNIST's images and a seeded generator, for `benchmarks.digits`."""

import io
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps

Bytes = NDArray[np.uint8]
Brightness = NDArray[np.float64]
Rng = np.random.Generator
Maker = Callable[[Bytes, Rng], bytes]
"""Makes a picture of a digit, uint8 (28, 28)."""

INKS = [(0, 0, 0), (255, 255, 255), (255, 255, 0), (200, 0, 0), (0, 0, 180), (0, 128, 0), (128, 128, 128)]
NOTES = [(250, 240, 120), (180, 230, 250), (250, 190, 210), (190, 245, 170)]
PENS = [(20, 20, 20), (20, 30, 140), (170, 20, 30), (20, 90, 40)]


def saved(image: Image.Image, kind: str = "PNG", quality: int = 85, **options: object) -> bytes:
    buffer = io.BytesIO()
    (image.convert("RGB") if kind == "JPEG" else image).save(buffer, kind, quality=quality, **options)
    return buffer.getvalue()


def named(*makers: Maker) -> Mapping[str, Maker]:
    return {make.__name__.replace("_", " "): make for make in makers}


def box(digit: Bytes) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the digit's ink."""
    found = Image.fromarray(digit).getbbox()
    assert found
    return found


def cropped(digit: Bytes) -> Bytes:
    left, top, right, bottom = box(digit)
    return digit[top:bottom, left:right]


def enlarged(digit: Bytes, side: int) -> Image.Image:
    return Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)


def strength(digit: Bytes, side: int) -> Brightness:
    """Return the digit's ink, 0 to 1, (side, side)."""
    return np.asarray(enlarged(digit, side), float) / 255


def light(rng: Rng, height: int, width: int, low: float, high: float) -> Brightness:
    """Return light that falls from a random direction: (height, width) from ``low`` to ``high``."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:height, 0:width]
    ramp = np.cos(angle) * x / width + np.sin(angle) * y / height
    return np.asarray(low + (high - low) * (ramp - ramp.min()) / np.ptp(ramp))


def written(
    rng: Rng, digit: Bytes, paper: Brightness, ink: float, part: tuple[float, float] = (0.3, 0.65)
) -> Brightness:
    """Write ``digit`` somewhere on ``paper``. ``ink``: its brightness, ``part``: its size, as fractions of the paper's."""
    side = int(min(paper.shape) * rng.uniform(*part))
    top, left = ((np.array(paper.shape) - side) * (0.5 + 0.5 * (rng.random(2) - 0.5))).astype(int)
    picture = paper.copy()
    picture[top : top + side, left : left + side] *= 1 - (1 - ink) * strength(digit, side)
    return picture


def photograph(rng: Rng, picture: Brightness, noise: float, quality: int = 85) -> bytes:
    return saved(grey(picture + rng.normal(0, noise, picture.shape)), "JPEG", quality)


def grey(picture: Brightness) -> Image.Image:
    """Return (height, width) or, in colours, (height, width, 3) as an image."""
    return Image.fromarray(picture.clip(0, 255).round().astype(np.uint8))


def png(digit: Bytes) -> bytes:
    return saved(Image.fromarray(digit))


def mnists_own(digit: Bytes, rng: Rng) -> bytes:
    return png(digit)


def inverted(digit: Bytes, rng: Rng) -> bytes:
    image = ImageOps.invert(Image.fromarray(digit))
    mode = str(rng.choice(["L", "RGB", "P", "RGBA", "1", "JPEG"]))
    return saved(image, "JPEG", 90) if mode == "JPEG" else saved(image.convert(mode, dither=Image.Dither.NONE))


def shifted(digit: Bytes, rng: Rng) -> bytes:
    ink, picture = cropped(digit), np.zeros_like(digit)
    top, left = (int(rng.integers(0, 29 - side)) for side in ink.shape)
    picture[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return saved(Image.fromarray(picture if rng.random() < 0.5 else 255 - picture))


def not_quite_black(digit: Bytes, rng: Rng) -> bytes:
    return saved(Image.fromarray(np.maximum(digit, int(rng.integers(5, 60)))))


def _on_transparent(digit: Bytes, rng: Rng, side: int) -> bytes:
    image = Image.new("RGBA", (side, side), INKS[rng.integers(len(INKS))])
    image.putalpha(Image.fromarray(digit) if side == 28 else enlarged(digit, side))
    return saved(image if rng.random() < 0.7 else image.convert("LA"))


def transparent(digit: Bytes, rng: Rng) -> bytes:
    return _on_transparent(digit, rng, 28)


def transparent_canvas(digit: Bytes, rng: Rng) -> bytes:
    return _on_transparent(digit, rng, int(rng.integers(64, 600)))


def canvas(digit: Bytes, rng: Rng) -> bytes:
    image = enlarged(digit, int(rng.integers(20, 900)))
    return saved(image if rng.random() < 0.5 else ImageOps.invert(image))


def sixteen_bits(digit: Bytes, rng: Rng) -> bytes:
    values = np.asarray(enlarged(digit, 280)).astype(np.uint16)
    values = values if rng.random() < 0.5 else 255 - values
    return saved(Image.fromarray(values * np.uint16(rng.choice([1, 257]))))


def falling_light(digit: Bytes, rng: Rng) -> bytes:
    paper = light(rng, 800, 600, rng.uniform(170, 185), 235)
    return photograph(rng, written(rng, digit, paper, rng.uniform(0.1, 0.35)), rng.uniform(3, 12))


def noise(digit: Bytes, rng: Rng) -> bytes:
    return photograph(rng, written(rng, digit, np.full((800, 600), rng.uniform(200, 235)), rng.uniform(0.1, 0.4)), 12)


def dark_desk(digit: Bytes, rng: Rng) -> bytes:
    sheet = grey(written(rng, digit, light(rng, 800, 600, rng.uniform(200, 225), 230), 0.25))
    left, top, right, bottom = (int(width) for width in rng.integers(0, 160, 4))
    around = ImageOps.expand(sheet, (left, top, right, bottom), int(rng.uniform(20, 110)))
    return photograph(rng, np.asarray(around, float), 4)


def turned_page(digit: Bytes, rng: Rng) -> bytes:
    sheet = grey(written(rng, digit, light(rng, 700, 520, rng.uniform(195, 225), 235), 0.25))
    desk = int(rng.uniform(20, 120))
    sheet = sheet.rotate(rng.uniform(-9, 9), Image.Resampling.BICUBIC, expand=True, fillcolor=desk)
    return photograph(rng, np.asarray(ImageOps.expand(sheet, int(rng.integers(0, 60)), desk), float), rng.uniform(2, 8))


def window_bar(digit: Bytes, rng: Rng) -> bytes:
    side, bar = int(rng.integers(200, 500)), int(rng.integers(15, 60))
    picture = Image.new("L", (side, side + bar), int(rng.integers(0, 130)))
    picture.paste(ImageOps.invert(enlarged(digit, side)), (0, bar))
    return saved(picture)


def pencil_in_shade(digit: Bytes, rng: Rng) -> bytes:
    paper = light(rng, 800, 600, rng.uniform(195, 215), 230)
    return photograph(rng, written(rng, digit, paper, rng.uniform(0.55, 0.7)), 4)


def framed(digit: Bytes, rng: Rng) -> bytes:
    image = ImageOps.invert(enlarged(digit, int(rng.integers(200, 400))))
    image = ImageOps.expand(image, int(rng.integers(2, 12)), int(rng.integers(0, 100)))
    return saved(ImageOps.expand(image, int(rng.integers(0, 30)), 255))


def ruled(digit: Bytes, rng: Rng) -> bytes:
    side = int(rng.integers(200, 500))
    picture = 255 - np.asarray(enlarged(digit, side))
    step, tone, width = int(rng.integers(side // 16, side // 6)), int(rng.integers(100, 215)), int(rng.integers(1, 3))
    squared = rng.random() < 0.5
    for start in range(int(rng.integers(step)), side, step):
        picture[start : start + width] = np.minimum(picture[start : start + width], tone)
        if squared:
            picture[:, start : start + width] = np.minimum(picture[:, start : start + width], tone)
    return saved(Image.fromarray(picture), "PNG" if rng.random() < 0.5 else "JPEG")


def cropped_tightly(digit: Bytes, rng: Rng) -> bytes:
    image = ImageOps.scale(Image.fromarray(cropped(digit)), int(rng.integers(4, 14)))
    image = ImageOps.expand(image, int(rng.integers(0, 6)), 0)
    return saved(image if rng.random() < 0.3 else ImageOps.invert(image))


def off_centre(digit: Bytes, rng: Rng) -> bytes:
    height, width = (int(side) for side in rng.integers(300, 900, 2))
    side = int(min(height, width) * rng.uniform(0.2, 0.6))
    picture = Image.new("L", (width, height), 255)
    place = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
    picture.paste(ImageOps.invert(enlarged(digit, side)), place)
    return saved(picture)


def coloured(digit: Bytes, rng: Rng) -> bytes:
    """Return ink and paper of random colours that differ clearly in at least one channel."""
    while True:
        paper, ink = rng.integers(0, 256, (2, 3)).astype(float)
        if np.abs(paper - ink).max() > 110:
            break
    alpha = strength(digit, int(rng.integers(120, 500)))[..., None]
    picture = paper * (1 - alpha) + ink * alpha
    values = (picture + rng.normal(0, 3, picture.shape)).clip(0, 255).astype(np.uint8)
    return saved(Image.fromarray(values), "PNG" if rng.random() < 0.5 else "JPEG")


def note_on_a_wall(digit: Bytes, rng: Rng) -> bytes:
    picture = np.full((700, 700, 3), rng.integers(60, 180, 3), float)
    side = int(rng.integers(330, 480))
    alpha = strength(digit, side)[..., None] * 0.9
    note, pen = (np.array(colours[rng.integers(len(colours))], float) for colours in (NOTES, PENS))
    top, left = (int(rng.integers(20, 680 - side)) for _ in range(2))
    picture[top : top + side, left : left + side] = note * (1 - alpha) + pen * alpha
    return photograph(rng, picture * light(rng, 700, 700, 0.8, 1)[..., None], 5)


def quality_30(digit: Bytes, rng: Rng) -> bytes:
    side = int(rng.integers(60, 400))
    return photograph(rng, 235 * (1 - rng.uniform(0.5, 0.9) * strength(digit, side)), 3, 30)


def two_tones(digit: Bytes, rng: Rng) -> bytes:
    paper, cut = np.full((600, 600), rng.uniform(210, 250)), int(rng.integers(150, 450))
    paper[:, cut:] = rng.uniform(130, 190)
    paper = paper if rng.random() < 0.5 else paper.T
    return photograph(rng, written(rng, digit, paper, rng.uniform(0.05, 0.3)), 4)


def shadow_of_a_hand(digit: Bytes, rng: Rng) -> bytes:
    mask = Image.new("L", (600, 800), 0)
    draw, x, y = ImageDraw.Draw(mask), rng.uniform(0, 600), rng.uniform(320, 800)
    draw.ellipse([x - 150, y - 100, x + 150, y + 300], fill=255)
    for _ in range(4):
        angle, length = rng.uniform(-2.6, -0.5), rng.uniform(150, 300)
        end = x + length * np.cos(angle), y + length * np.sin(angle)
        draw.line([x, y, *end], fill=255, width=int(rng.integers(45, 80)))
    shadow = np.asarray(mask.filter(ImageFilter.GaussianBlur(rng.uniform(8, 30))), float) / 255
    paper = light(rng, 800, 600, 205, 235) * (1 - rng.uniform(0.2, 0.5) * shadow)
    return photograph(rng, written(rng, digit, paper, 0.25), 4)


def blackboard(digit: Bytes, rng: Rng) -> bytes:
    board = light(rng, 600, 800, 185, 225)
    return photograph(rng, 255 - written(rng, digit, board, rng.uniform(0.1, 0.3)), rng.uniform(2, 10))


def whiteboard(digit: Bytes, rng: Rng) -> bytes:
    y, x = np.mgrid[0:600, 0:800]
    glare = 80 * np.exp(-((y - rng.uniform(0, 600)) ** 2 + (x - rng.uniform(0, 800)) ** 2) / 16200)
    board = np.minimum(255, light(rng, 600, 800, 170, 215) + glare)
    ratio = written(rng, digit, board, 0) / board
    pen = np.array(PENS[rng.integers(len(PENS))], float)
    return photograph(rng, board[..., None] * ratio[..., None] + pen * (1 - ratio[..., None]), 4, 75)


def creased(digit: Bytes, rng: Rng) -> bytes:
    paper = light(rng, 800, 600, 195, 230)
    for fold in rng.integers(150, 650, 2):
        paper[fold : fold + 3] *= 0.85
        paper[fold + 3 :] *= rng.uniform(0.9, 1)
    return photograph(rng, written(rng, digit, paper, 0.25), 5)


def turned_notebook(digit: Bytes, rng: Rng) -> bytes:
    paper = light(rng, 800, 600, 205, 235)
    for line in range(60, 800, int(rng.integers(36, 70))):
        paper[line : line + 2] *= 0.75
    paper[:, 80:83] *= 0.7
    sheet = grey(written(rng, digit, paper, 0.2))
    sheet = sheet.rotate(rng.uniform(-4, 4), Image.Resampling.BICUBIC, fillcolor=220)
    return photograph(rng, np.asarray(sheet, float), 5, int(rng.integers(50, 90)))


def dark_mode(digit: Bytes, rng: Rng) -> bytes:
    side, ground = int(rng.integers(150, 400)), int(rng.integers(10, 60))
    picture = Image.new("L", (side + int(rng.integers(0, 200)), side + 60), ground)
    ink = ground + strength(digit, side) * (rng.integers(150, 256) - ground)
    picture.paste(grey(ink), (int(rng.integers(0, picture.width - side + 1)), 60))
    picture.paste(int(rng.integers(90, 255)), (0, 0, picture.width, int(rng.integers(10, 40))))
    return saved(picture)


def desk_and_shadow(digit: Bytes, rng: Rng) -> bytes:
    band = np.full((700, 520), 255, np.uint8)
    band[int(rng.integers(100, 600)) :] = int(255 * rng.uniform(0.6, 0.85))
    blurred = Image.fromarray(band).filter(ImageFilter.GaussianBlur(rng.uniform(0, 25)))
    paper = light(rng, 700, 520, 190, 230) * np.asarray(blurred, float) / 255
    sheet, desk = grey(written(rng, digit, paper, rng.uniform(0.15, 0.4))), int(rng.uniform(20, 130))
    sheet = sheet.rotate(rng.uniform(-6, 6), Image.Resampling.BICUBIC, expand=True, fillcolor=desk)
    around = ImageOps.expand(sheet, int(rng.integers(0, 80)), desk)
    return photograph(rng, np.asarray(around, float), 6, int(rng.integers(35, 90)))


KINDS = named(
    *(mnists_own, inverted, shifted, not_quite_black, transparent, transparent_canvas, canvas, sixteen_bits),
    *(falling_light, noise, dark_desk, turned_page, window_bar, pencil_in_shade, framed, ruled, cropped_tightly),
    *(off_centre, coloured, note_on_a_wall, quality_30, two_tones, shadow_of_a_hand, blackboard, whiteboard),
    *(creased, turned_notebook, dark_mode, desk_and_shadow),
)
