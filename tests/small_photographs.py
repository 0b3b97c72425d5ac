"""A few photographs of three classes that differ in colour."""

from pathlib import Path

import numpy as np
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
