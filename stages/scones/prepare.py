"""Check small pictures of vehicles and write `train/*.png`, `test/*.png`, `train.lst`, `test.lst`.

Takes 1 s for 1,200 pictures.

Pictures are RGB, 32x32. A label in a list is the index of its class in data.scones.classes. Labelled captured pictures
are added to the training pictures. `refused.csv` lists the pictures that are left out, with the reason: unusable
pictures, and training pictures that are already in the test set or the training set.
"""

import csv
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from stages.common import config, files
from stages.common.errors import InputError
from stages.common.program import run
from stages.common.sources.source import open_source
from stages.common.vision.images import ImageError, decode, is_plain
from stages.scones import layout
from stages.scones.config import Data
from stages.scones.feedback import labelled
from stages.scones.layout import PARTS, SIDE, Bytes, Entry
from stages.scones.sources import official, sample

RAW = Path("data/scones/raw")

MAX_PIXELS = 1_000_000
"""Largest number of pixels of a picture, checked before it is decoded."""


class Picture(NamedTuple):
    """A usable picture."""

    file: str
    """Folder and name, for messages."""
    entry: Entry
    image: Bytes


class Refused(NamedTuple):
    """A picture that is left out: a row of refused.csv."""

    file: str
    reason: str


Sorted = tuple[list[Picture], list[Refused]]


def read_pictures(folder: Path, entries: Iterable[Entry], prefix: str = "") -> Sorted:
    """Read the pictures in ``folder`` that ``entries`` name.

    Returns those of 32x32 pixels, with ``prefix`` in their names, and the others.
    """
    pictures, refused = [], []
    for entry in entries:
        file = f"{folder.name}/{entry.name}"
        try:
            image = decode((folder / entry.name).read_bytes(), MAX_PIXELS)
            if image.shape != (SIDE, SIDE, 3):
                height, width, _ = image.shape
                raise ImageError(f"the picture has {width} x {height} pixels, not {SIDE} x {SIDE}")
            if is_plain(image):
                raise ImageError("the picture has a single colour")
        except ImageError as error:
            refused.append(Refused(file, str(error)))
        else:
            pictures.append(Picture(file, entry._replace(name=prefix + entry.name), image))
    return pictures, refused


def unlisted(folder: Path, entries: Iterable[Entry]) -> list[Refused]:
    """Return the pictures in ``folder`` that no list gives a label."""
    names = {path.name for path in folder.glob("*.png")} - {entry.name for entry in entries}
    return [Refused(f"{folder.name}/{name}", f"{folder.name}.lst does not name it") for name in sorted(names)]


def without_copies(train: list[Picture], test: list[Picture]) -> Sorted:
    """Return the pictures of ``train`` without copies, and the copies: pixels equal to a picture in ``test`` or earlier in ``train``."""
    seen = {picture.image.tobytes(): picture.file for picture in test}
    pictures, copies = [], []
    for picture in train:
        first = seen.setdefault(picture.image.tobytes(), picture.file)
        if first == picture.file:
            pictures.append(picture)
        else:
            copies.append(Refused(picture.file, f"the same picture as {first}"))
    return pictures, copies


def check(source: Path, pictures: dict[str, list[Picture]], refused: list[Refused], settings: Data) -> None:
    """Raise InputError if too many pictures are refused, or a class has no training or no test picture."""
    count = sum(map(len, pictures.values())) + len(refused)
    if len(refused) > settings.max_refused * count:
        raise InputError(
            f"{source}: {len(refused)} of {count} pictures are unusable, first {refused[0].file}: {refused[0].reason}; "
            f"expected at most the fraction data.scones.max_refused = {settings.max_refused:g}"
        )
    for part in PARTS:
        present = {picture.entry.label for picture in pictures[part]}
        missing = [name for label, name in enumerate(settings.classes) if label not in present]
        if missing:
            raise InputError(
                f"{source / part}.lst: found no usable picture of {', '.join(missing)}, expected at least 1"
            )


def main() -> None:
    settings = config.load("data.scones", Data)
    makers = [partial(make, classes=settings.classes) for make in (sample.write, official.fetch)]
    pictures: dict[str, list[Picture]] = {}
    refused: list[Refused] = []
    with open_source("scones", settings, *makers) as source:
        lists = {part: layout.read_list(source.folder, part, settings.classes) for part in PARTS}
        for part, entries in lists.items():
            pictures[part], unusable = read_pictures(source.folder / part, entries)
            refused += unusable + unlisted(source.folder / part, entries)
        row = 1 + max(entry.row for entry in lists["train"])
        captured = labelled.read_list(labelled.FOLDER, settings.classes, row)
        extra, unusable = read_pictures(labelled.FOLDER, captured, prefix="labelled_")
        refused += unusable
        pictures["train"], copies = without_copies(pictures["train"] + extra, pictures["test"])
        check(source.folder, pictures, refused, settings)
        name = source.name
    with files.new_folder(RAW) as folder:
        for part in PARTS:
            layout.write(folder, part, ((picture.entry, picture.image) for picture in pictures[part]))
        with (folder / "refused.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([Refused._fields, *refused, *copies])
        files.write_json(folder / "about.json", {"source": name, "classes": settings.classes})
    print(
        f"scones from {name}: {len(pictures['train'])} training and {len(pictures['test'])} test pictures in {RAW}, "
        f"{len(captured)} labelled captured ones; left out {len(refused)} unusable pictures and {len(copies)} copies"
    )


if __name__ == "__main__":
    run(main)
