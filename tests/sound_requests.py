"""Requests that the models of all projects answer."""

import json

import numpy as np
from pictures import saved
from PIL import Image, ImageDraw

from stages.serving.comparison import npy

HOUR = {
    "datetime": "2011-01-20 01:00:00",
    "season": 1,
    "holiday": 0,
    "workingday": 1,
    "weather": 1,
    "temp": 9.0,
    "atemp": 11.0,
    "humidity": 50,
    "windspeed": 10.0,
}
COLUMNS = ",".join(HOUR)
CSV = f"{COLUMNS}\n{','.join(map(str, HOUR.values()))}\n".encode()
DIGIT = np.random.default_rng(0).integers(0, 256, (1, 28, 28), dtype=np.uint8)
PICTURES = {form: f"image/{form.lower()}" for form in ("PNG", "JPEG", "GIF", "BMP", "WEBP")}


def noise(size: tuple[int, int]) -> Image.Image:
    """Noise around a dark stroke, so that it is a drawing of a digit, too."""
    pixels = np.random.default_rng(0).integers(200, 256, (*size, 3), dtype=np.uint8)
    pixels[size[0] // 5 : -size[0] // 5, size[1] // 2 - 2 : size[1] // 2 + 2] = 0
    return Image.fromarray(pixels)


def seven() -> Image.Image:
    """A digit, drawn in black on white."""
    picture = Image.new("L", (80, 80), 255)
    ImageDraw.Draw(picture).line([(25, 20), (55, 20), (38, 62)], fill=0, width=6, joint="curve")
    return picture


def in_all_forms(picture: Image.Image) -> list[tuple[bytes, str]]:
    return [(saved(picture, form), kind) for form, kind in PICTURES.items()]


GOOD: dict[str, list[tuple[bytes, str]]] = {
    "bikes": [(CSV, "text/csv"), (json.dumps([HOUR]).encode(), "application/json")],
    "mnist": [
        *in_all_forms(seven()),
        (npy(DIGIT), "application/x-npy"),
        (json.dumps({"images": DIGIT.tolist()}).encode(), "application/json"),
    ],
    "landmarks": [
        *in_all_forms(noise((40, 50))),
        (npy(np.arange(243, dtype=np.uint8).reshape(1, 9, 9, 3)), "application/x-npy"),
    ],
    "scones": in_all_forms(noise((32, 32))),
}
"""The bodies and their content types, by project."""
