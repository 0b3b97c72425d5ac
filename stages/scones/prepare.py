"""Check pictures of vehicles and write `train/*.png`, `test/*.png`, `train.lst`, `test.lst`, as squares of `data.scones.side`.

Takes 1 s for 1,200 small pictures.

The pictures are of any size, format and layout that `sources/given.py` and `endpoint/picture.py` read. A label in a list is
the index of its class in data.scones.classes. If a source has no test set, a fraction of each class becomes it. Labelled
captured pictures are added to the training pictures. `refused.csv` lists each file that is left out, with the reason:
unusable pictures, files of no class, and copies. A picture, known by the pixels of its square, is used once: see
`copies.excess`. A source's own test set is not changed. Training and test pictures that look the same are listed in
`near_copies.csv`; above a fraction of them, prepare fails.
"""

import hashlib
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages.common import config, files
from stages.common.errors import InputError
from stages.common.program import run
from stages.common.sources import copies
from stages.common.sources.folders import RefusedFile
from stages.common.sources.source import open_source
from stages.common.sources.splits import stratified
from stages.common.vision import images
from stages.scones import layout
from stages.scones.config import Data
from stages.scones.endpoint import picture
from stages.scones.feedback import labelled
from stages.scones.layout import PARTS, Bytes, Candidate, Entry
from stages.scones.sources import given, official, sample

RAW = Path("data/scones/raw")

LABELLED = "labelled_"
"""The beginning of the names of labelled captured pictures."""


class ListedPicture(NamedTuple):
    """A usable picture: ``file`` is its folder and name for messages, ``image`` its square, uint8 (side, side, 3)."""

    file: str
    entry: Entry
    image: Bytes


def read_pictures(candidates: Iterable[Candidate], side: int) -> tuple[list[ListedPicture], list[RefusedFile]]:
    """Return the squares of the usable pictures, as the endpoint makes them (`picture.squared`), and the other files."""
    pictures, refused = [], []
    for one in candidates:
        try:
            image = picture.squared(images.read(one.path, picture.MAX_PIXELS), side)
            if images.is_plain(image):
                raise images.ImageError("the picture has a single colour")
        except images.ImageError as error:
            refused.append(RefusedFile(one.file, str(error)))
        else:
            pictures.append(ListedPicture(one.file, one.entry, image))
    return pictures, refused


def check(source: Path, pictures: dict[str, list[ListedPicture]], refused: list[RefusedFile], settings: Data) -> None:
    """Raise InputError if too many pictures are refused, or a class has no training or no test picture."""
    count = sum(map(len, pictures.values())) + len(refused)
    if len(refused) > settings.max_refused * count:
        raise InputError(
            f"{source}: {len(refused)} of {count} pictures are unusable, first {refused[0].path}: {refused[0].reason}; "
            f"expected at most the fraction data.scones.max_refused = {settings.max_refused:g}"
        )
    for part in PARTS:
        present = {picture.entry.label for picture in pictures[part]}
        missing = [name for label, name in enumerate(settings.classes) if label not in present]
        if missing:
            raise InputError(
                f"{source}: found no usable picture of {', '.join(missing)} for {part}, expected at least 1"
            )


def without_copies(
    train: list[ListedPicture], test: list[ListedPicture]
) -> tuple[list[ListedPicture], list[RefusedFile], int]:
    """Return the training pictures to use and those to leave out, and how many copies are in ``test``."""
    known = [
        copies.LabelledPicture(
            picture.file, part, picture.entry.label, hashlib.sha256(picture.image.tobytes()).digest()
        )
        for part, pictures in (("train", train), ("test", test))
        for picture in pictures
    ]
    excess = copies.excess(known)
    kept = [picture for index, picture in enumerate(train) if index not in excess]
    return kept, [RefusedFile(known[index].file, reason) for index, reason in excess.items()], copies.repeated(known)


def split(pictures: Sequence[ListedPicture], settings: Data) -> dict[str, list[ListedPicture]]:
    """Return the ``pictures`` of a source without a test set by part, in their order: a fraction of each class is the test set."""
    chosen = stratified(
        np.array([one.entry.label for one in pictures], np.int64), settings.test_fraction, settings.seed
    )
    return {
        part: [one for one, test in zip(pictures, chosen, strict=True) if test == (part == "test")] for part in PARTS
    }


def main() -> None:
    settings = config.load("data.scones", Data)
    makers = [partial(make, classes=settings.classes) for make in (sample.write, official.fetch)]
    pictures: dict[str, list[ListedPicture]] = {part: [] for part in PARTS}
    refused: list[RefusedFile] = []
    with open_source("scones", settings, *makers) as source:
        found = given.find(source.folder, settings.classes)
        for part, candidates in found.parts.items():
            pictures[part], unusable = read_pictures(candidates, settings.side)
            refused += unusable
        row = 1 + max((one.entry.row for one in found.parts["train"]), default=-1)
        captured = labelled.read_list(labelled.FOLDER, settings.classes, row)
        extra, unusable = read_pictures(layout.candidates(labelled.FOLDER, captured, LABELLED), settings.side)
        refused += unusable + found.refused
        total = sum(len(one) for one in (*pictures.values(), extra)) + len(refused + found.others) + found.lists
        kept, left_out, repeated = without_copies(pictures["train"] + extra, pictures["test"])
        if "test" not in found.parts:  # the labelled pictures don't change it
            labels = {one.file for one in extra}
            pictures = split([one for one in kept if one.file not in labels], settings)
            kept = pictures["train"] + [one for one in kept if one.file in labels]
        pictures["train"] = kept
        check(source.folder, pictures, refused, settings)
        looks = {part: {one.file: copies.look(one.image) for one in pictures[part]} for part in PARTS}
        near = copies.near_copies(looks)
        note = copies.check_near(near, looks, source.folder, "data.scones.max_near_copies", settings.max_near_copies)
        name = source.name
    with files.new_folder(RAW) as folder:
        for part in PARTS:
            layout.write(folder, part, ((one.entry, one.image) for one in pictures[part]))
        files.write_rows(folder / "refused.csv", ["file", "reason"], [*refused, *left_out, *found.others])
        copies.write_near(folder / "near_copies.csv", near)
        used = {part: len(pictures[part]) for part in PARTS}
        left = {"unusable": len(refused), "copies": len(left_out), "others": len(found.others)}
        files.write_json(folder / "counts.json", {"found": total, **used, "tables": found.lists, **left})
        files.write_json(folder / "about.json", {"source": name, "classes": settings.classes})
    if note:
        print(f"warning: {note}")
    if repeated:
        print(f"warning: {repeated} test pictures are copies of another one: the source's test set is not changed")
    print(
        f"scones from {name}, {total} files: {len(pictures['train'])} training and {len(pictures['test'])} test pictures in {RAW}, "
        f"{len(captured)} of all are labelled captured ones; {found.lists} lists; left out {len(refused)} unusable pictures, "
        f"{len(left_out)} copies and {len(found.others)} other files (refused.csv there has the reasons)"
    )


if __name__ == "__main__":
    run(main)
