"""Measure how well a classifier recognises pictures that belong to none of its classes.

They are digits, crops of two photographs, and textures of other kinds than those by which the method was chosen.
"""

from collections.abc import Callable, Iterable, Iterator
from importlib import metadata

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from stages.common.sources.digits import read
from stages.common.vision import classifiers, known, outliers

Pixels = NDArray[np.uint8]

PHOTOGRAPHS = ("china.jpg", "flower.jpg")
"""Photographs in the package scikit-learn: a pavilion in front of trees, and a dahlia."""

COUNT = 30
"""Number of digits of each polarity, and of crops of each photograph."""


def pictures(side: int) -> dict[str, Pixels]:
    """Return pictures by kind, uint8 (N, side, side, 3)."""
    digits = read()[0][-2 * COUNT :]
    digits[:COUNT] = 255 - digits[:COUNT]
    found = {
        "digits": [Image.fromarray(digit) for digit in digits],
        "photographs": list(_crops(np.random.default_rng(0))),
    }
    resized = {
        kind: np.stack(
            [np.asarray(one.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)) for one in images]
        )
        for kind, images in found.items()
    }
    return {**resized, "textures": outliers.made(outliers.MEASURING, side)}


def _crops(random: Generator) -> Iterator[Image.Image]:
    """Yield squares of the photographs, from a third of the shorter side to all of it."""
    package = metadata.distribution("scikit-learn")  # importing it would take seconds
    for name in PHOTOGRAPHS:
        photograph = Image.open(str(package.locate_file(f"sklearn/datasets/images/{name}"))).convert("RGB")
        shorter = min(photograph.size)
        for _ in range(COUNT):
            side = int(random.integers(shorter // 3, shorter + 1))
            left, top = (int(random.integers(0, room - side + 1)) for room in photograph.size)
            yield photograph.crop((left, top, left + side, top + side))


def measured(
    look: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]],
    batched: Callable[[Pixels], Iterable[Tensor]],
    arrays: known.Arrays,
    side: int,
    test: known.Scores,
) -> tuple[dict[str, object], list[dict[str, object]]]:
    """Return metrics of the chosen method, and a table with a row for each method.

    ``test`` has the `known.scores` of the test pictures, which belong to the classes. ``batched`` makes batches for
    ``look`` (see `classifiers.measure`) of pictures, uint8 (N, side, side, 3).
    """
    strange = {kind: classifiers.measure(look, batched(found), arrays)[1] for kind, found in pictures(side).items()}
    rows: list[dict[str, object]] = [
        {
            "method": method,
            "auroc_choosing": round(float(arrays["aurocs"][column]), 6),
            **{
                f"auroc_{kind}": round(known.auroc(test[:, column], scores[:, column]), 6)
                for kind, scores in strange.items()
            },
        }
        for column, method in enumerate(known.METHODS)
    ]
    column = int(arrays["method"])
    aurocs = {name: value for name, value in rows[column].items() if name not in ("method", "auroc_choosing")}
    refused = float((test[:, column] < arrays["threshold"]).mean())
    return {"known_method": known.METHODS[column], "refused_share": round(refused, 6), **aurocs}, rows
