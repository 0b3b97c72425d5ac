"""Small photographs: a few of three classes that differ in colour, and folders of as many as a test wants."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from checkouts import set_parameters
from PIL import Image

COLOURS = {"blue_tower": (40, 60, 200), "green_hill": (40, 180, 60), "red_bridge": (210, 50, 40)}


def write_photographs(folder: Path) -> None:
    """Three classes that their colours tell, of several sizes and formats: 12 and 4 pictures a class."""
    random = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 4)):
        for name, colour in COLOURS.items():
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                height, width = random.integers(40, 70, 2)
                pixels = np.clip(np.array(colour) + random.normal(0, 40, (height, width, 3)), 0, 255).astype(np.uint8)
                kind = ("jpg", "png", "webp")[number % 3]
                Image.fromarray(pixels).save(folder / split / name / f"{number:02}.{kind}")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def picture(number: int, side: int = 24) -> Image.Image:
    """Coarse noise, another one for each number, which stays alike when it is saved again or resized."""
    noise = np.random.default_rng(number).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)


def fill(folder: Path, counts: Mapping[str, int], first: int = 0) -> None:
    """As many pictures in each sub-folder, all different: 000.png, ..."""
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(first, first + count):
            picture(number).save(folder / name / f"{number:03}.png")
        first += count


def configure(**photographs: float) -> None:
    """Set parameters of `data.landmarks.photographs`."""
    settings = {f"data.landmarks.photographs.{name}": value for name, value in photographs.items()}
    set_parameters(Path("params.yaml"), settings)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
