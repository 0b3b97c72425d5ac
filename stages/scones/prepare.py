"""Small pictures of vehicles, to one checked form: `train/*.png`, `test/*.png`, `train.lst`, `test.lst`. 1 s for 1,200 pictures.

Pictures are RGB, 32x32; a label in a list is the place of its class in data.scones.classes. Captured pictures that someone
has labelled join the training pictures. What is left out stands in `refused.csv` with the reason: pictures that can't be
used, and training pictures that are in the test set or in the training set already.
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
from stages.common.vision.images import ImageError, decode
from stages.scones import layout
from stages.scones.config import Data
from stages.scones.feedback import labelled
from stages.scones.layout import PARTS, SIDE, Bytes, Entry
from stages.scones.sources import official, sample

RAW = Path("data/scones/raw")

MAX_PIXELS = 1_000_000
"""Beyond which a picture isn't even decoded."""


class Picture(NamedTuple):
    """One that can be used."""

    file: str
    """Folder and name, as it is called in messages."""
    entry: Entry
    image: Bytes


class Refused(NamedTuple):
    """One that is left out: a row of refused.csv."""

    file: str
    reason: str


Sorted = tuple[list[Picture], list[Refused]]


def read_pictures(folder: Path, entries: Iterable[Entry], prefix: str = "") -> Sorted:
    """The pictures in ``folder`` that ``entries`` name, those that are no picture of 32x32 apart; ``prefix`` renames them."""
    pictures, refused = [], []
    for entry in entries:
        file = f"{folder.name}/{entry.name}"
        try:
            image = decode((folder / entry.name).read_bytes(), MAX_PIXELS)
            if image.shape != (SIDE, SIDE, 3):
                height, width, _ = image.shape
                raise ImageError(f"the picture has {width} x {height} pixels, not {SIDE} x {SIDE}")
        except ImageError as error:
            refused.append(Refused(file, str(error)))
        else:
            pictures.append(Picture(file, entry._replace(name=prefix + entry.name), image))
    return pictures, refused


def unlisted(folder: Path, entries: Iterable[Entry]) -> list[Refused]:
    """The pictures in ``folder`` that no list gives a label."""
    names = {path.name for path in folder.glob("*.png")} - {entry.name for entry in entries}
    return [Refused(f"{folder.name}/{name}", f"{folder.name}.lst does not name it") for name in sorted(names)]


def without_copies(train: list[Picture], test: list[Picture]) -> Sorted:
    """``train``, those apart that are in ``test``, or in ``train`` before, pixel for pixel."""
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
    """Raises InputError if too many were refused, or a class has no picture to learn from or to test with."""
    count = sum(map(len, pictures.values())) + len(refused)
    if len(refused) > settings.max_refused * count:
        raise InputError(
            f"{source}: {len(refused)} of {count} pictures can't be used, the first {refused[0].file}: {refused[0].reason}; "
            f"expected at most data.scones.max_refused = {settings.max_refused:g} of them"
        )
    for part in PARTS:
        present = {picture.entry.label for picture in pictures[part]}
        missing = [name for label, name in enumerate(settings.classes) if label not in present]
        if missing:
            raise InputError(
                f"{source / part}.lst: found no picture of {', '.join(missing)} that can be used, expected one at least"
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
        f"{len(captured)} captured ones labelled; left out {len(refused)} that can't be used and {len(copies)} copies"
    )


if __name__ == "__main__":
    run(main)
