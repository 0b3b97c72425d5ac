"""Read a few test pictures to click from the data that the pipeline has prepared."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from stages.common import files, images
from stages.landmarks import photographs

MAX_PIXELS = 100_000_000
THUMBNAIL = 96  # pixels, the longer side


class Example(NamedTuple):
    """A picture to click: its class, the file's bytes, and a small PNG of it."""

    label: str
    content: bytes
    thumbnail: bytes


def landmarks(number: int = 6) -> list[Example]:
    """Return test photographs of different classes. Raise InputError with the command that makes them if there are none."""
    raw = files.require(Path("data/landmarks/raw"), "prepare@landmarks")
    classes = photographs.read_classes(raw)
    of_label = {photograph.label: photograph for photograph in reversed(photographs.read_index(raw, "test"))}
    with photographs.open_archive(raw, "test") as archive:
        return [
            _example(classes[label].name, archive.read(of_label[label].path))
            for label in _spread(sorted(of_label), number)
        ]


def scones(number: int = 6) -> list[Example]:
    """Return test pictures of all classes in turn. Raise InputError if there are none."""
    arrays = np.load(files.require(Path("data/scones/features/test.npz"), "featurize@scones"))
    classes = files.read_json(files.require(Path("data/scones/raw/about.json"), "prepare@scones"))["classes"]
    pictures, labels = arrays["images"], arrays["labels"]
    turn = [
        np.flatnonzero(labels == label)[row]
        for row in range(-(-number // len(classes)))
        for label in range(len(classes))
    ]
    return [_example(classes[labels[row]], _png(pictures[row])) for row in turn[:number]]


def mnist() -> list[Example]:
    """Return a test digit of each class, light ink on dark. Raise InputError if there are none."""
    arrays = np.load(files.require(Path("data/mnist/features/test.npz"), "featurize@mnist"))
    pictures, labels = arrays["images"], arrays["labels"]
    rows = [np.flatnonzero(labels == digit)[0] for digit in np.unique(labels)]
    return [Example(str(labels[row]), _png(pictures[row]), _png(pictures[row])) for row in rows]


def _spread(values: list[int], number: int) -> list[int]:
    """Return ``number`` of ``values`` at equal distances."""
    places = np.linspace(0, len(values) - 1, min(number, len(values)))
    return [values[int(place)] for place in places]


def _example(label: str, content: bytes) -> Example:
    picture = Image.fromarray(images.decode(content, MAX_PIXELS))
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    return Example(label, content, _png(np.asarray(picture)))


def _png(pixels: images.Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
