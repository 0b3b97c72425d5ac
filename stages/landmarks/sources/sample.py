"""The embedded sample: 780 drawn pictures of twelve kinds of landmark, in the published layout.

Invented landmarks stand in invented places. Light, size, pose and nearby objects vary, so that a classifier has to use the shape:
pylons resemble lattice towers, chimneys and steeples resemble obelisks and lighthouses, office blocks resemble the twin towers. As in
collections of photographs, some pictures are in portrait format, grey, rotated (as only their EXIF data shows), or not JPEG. The
sample is made to be easy to learn: its scores do not predict scores on photographs.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import ExifTags, Image, ImageDraw

from stages.landmarks.sources.drawings import monuments, scenery, towers
from stages.landmarks.sources.drawings.pen import Pen

LANDMARKS = {
    "arch_bridge": monuments.arch_bridge,
    "castle": monuments.castle,
    "domed_cathedral": monuments.domed_cathedral,
    "lattice_tower": towers.lattice_tower,
    "lighthouse": towers.lighthouse,
    "obelisk": towers.obelisk,
    "pagoda": towers.pagoda,
    "pyramid": monuments.pyramid,
    "stone_circle": monuments.stone_circle,
    "suspension_bridge": monuments.suspension_bridge,
    "twin_towers": towers.twin_towers,
    "windmill": towers.windmill,
}
BRIDGES = ("arch_bridge", "suspension_bridge")
WIDE = (*BRIDGES, "stone_circle")

TRAIN, TEST = 50, 15
"""Pictures per class."""

SEED = 50
SIZES = [(192, 144), (192, 144), (240, 180), (216, 162), (240, 192), (192, 192), (144, 192), (168, 216), (180, 240)]
FINER = 2
"""Factor by which drawings are larger than the result, in each direction. Averaging them then smooths the edges."""


def write(folder: Path) -> None:
    """Fill ``folder`` with ``train/<class>/<nn>.jpg`` and ``test/<class>/<nn>.jpg`` (some are .png or .webp)."""
    for label, name in enumerate(LANDMARKS):
        for part, indices in (("train", range(TRAIN)), ("test", range(TRAIN, TRAIN + TEST))):
            (folder / part / name).mkdir(parents=True)
            for index in indices:
                random = np.random.default_rng([SEED, label, index])
                save(picture(name, random), folder / part / name / f"{index:02}", index, random)


def picture(name: str, random: Generator) -> Image.Image:
    """Draw a picture of the landmark ``name``: RGB, in one of SIZES (width, height)."""
    width, height = (FINER * side for side in SIZES[random.integers(len(SIZES))])
    # The landmark is in the central square, which is what a network sees.
    side = min(width, height)
    horizon = (height - side) / 2 + side * random.uniform(0.7, 0.86)
    now = scenery.weather(random)
    image = scenery.sky(width, height, horizon, now, random)
    shore = scenery.land(image, horizon, now.light, random)
    pen = landmark_pen(image, name, horizon, now, random)
    if shore and name not in BRIDGES:
        pen.disc(0, -0.02, 1.2 if name in WIDE else 0.7, shore, flat=0.12)
    LANDMARKS[name](pen, random)
    scenery.foreground(image, horizon, now.light, random)
    return scenery.photograph(image.reduce(FINER), now, random)


def landmark_pen(image: Image.Image, name: str, horizon: float, now: scenery.Weather, random: Generator) -> Pen:
    """Return a pen with the landmark's position, size, pose (a mild homography) and light."""
    width, height = image.size
    side = min(width, height)
    top = (height - side) / 2
    foot = horizon + (top + side - horizon) * random.uniform(0.0, 0.65)
    if name in WIDE:
        x, scale = width / 2 + side * random.uniform(-0.08, 0.08), side * random.uniform(0.44, 0.56)
    else:
        x = width / 2 + side * random.uniform(-0.15, 0.15)
        scale = min(side * random.uniform(0.7, 1.0), 0.98 * (foot - top))
    turn, mirror = np.radians(random.normal(0, 3)), random.choice([-1, 1]) * random.uniform(0.8, 1.2)
    lean, sideways, upwards = random.normal(0, 0.02), random.uniform(-0.08, 0.08), random.uniform(-0.05, 0.25)
    pose = np.array([[mirror, lean, 0], [0, 1, 0], [sideways, upwards, 1]])
    right, down = scale * np.cos(turn), scale * np.sin(turn)
    upright = np.array([[right, down, x], [down, -right, foot], [0, 0, 1]])
    light = replace(now.light, side=now.light.side * np.sign(mirror))
    if light.night and random.random() < 0.9:
        light = replace(light, tint=scenery.FLOODLIT)
    return Pen(ImageDraw.Draw(image), upright @ pose, light)


def save(image: Image.Image, path: Path, index: int, random: Generator) -> None:
    """Write ``image`` to ``path`` with the suffix of its format. One in four is not a plain JPEG."""
    quality = int(random.integers(45, 95))
    match index % 20:
        case 3:
            image.save(path.with_suffix(".png"))
        case 7:
            image.save(path.with_suffix(".webp"), quality=quality)
        case 11:
            image.convert("L").save(path.with_suffix(".jpg"), quality=quality)
        case 13:  # stored rotated by 90 degrees
            turned = Image.Exif()
            turned[ExifTags.Base.Orientation] = 6
            image.transpose(Image.Transpose.ROTATE_90).save(path.with_suffix(".jpg"), quality=quality, exif=turned)
        case 17:
            image.quantize(64).save(path.with_suffix(".png"))
        case _:
            image.save(path.with_suffix(".jpg"), quality=quality)
