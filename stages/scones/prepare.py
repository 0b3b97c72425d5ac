"""Check small pictures of vehicles and write `train/*.png`, `test/*.png`, `train.lst`, `test.lst`.

Takes 1 s for 1,200 pictures.

Pictures are RGB, 32x32. A label in a list is the index of its class in data.scones.classes. Labelled captured pictures
are added to the training pictures. `refused.csv` lists each file that is left out, with the reason: unusable pictures,
files that no list names, and copies. A picture, known by its pixels, is used once: see `copies.excess`. The test set is
not changed. Training and test pictures that look the same are listed in `near_copies.csv`; above a fraction of them,
prepare fails.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from stages.common import config, files
from stages.common.errors import InputError
from stages.common.program import run
from stages.common.sources import copies, listing
from stages.common.sources.source import open_source
from stages.common.vision.images import ImageError, decode, is_plain
from stages.scones import layout
from stages.scones.config import Data
from stages.scones.feedback import labelled
from stages.scones.layout import PARTS, SIDE, Bytes, Entry, by_name
from stages.scones.sources import official, sample

RAW = Path("data/scones/raw")

LABELLED = "labelled_"
"""The beginning of the names of labelled captured pictures."""

MAX_PIXELS = 1_000_000
"""Largest number of pixels of a picture, checked before it is decoded."""


class ListedPicture(NamedTuple):
    """A usable picture."""

    file: str
    """Folder and name, for messages."""
    entry: Entry
    image: Bytes


class RefusedPicture(NamedTuple):
    """A file that is left out: a row of refused.csv."""

    file: str
    reason: str


def read_pictures(
    folder: Path, entries: Iterable[Entry], prefix: str = ""
) -> tuple[list[ListedPicture], list[RefusedPicture]]:
    """Read the pictures in ``folder`` that ``entries`` name.

    Returns those of 32x32 pixels, with ``prefix`` in their names, and the others.
    """
    pictures, refused = [], []
    there = by_name(folder)
    for entry in entries:
        file = f"{folder.name}/{entry.name}"
        try:
            image = decode(there[entry.name].read_bytes(), MAX_PIXELS)
            if image.shape != (SIDE, SIDE, 3):
                height, width, _ = image.shape
                raise ImageError(f"the picture has {width} x {height} pixels, not {SIDE} x {SIDE}")
            if is_plain(image):
                raise ImageError("the picture has a single colour")
        except ImageError as error:
            refused.append(RefusedPicture(file, str(error)))
        else:
            pictures.append(ListedPicture(file, entry._replace(name=prefix + entry.name), image))
    return pictures, refused


def unlisted(source: Path, lists: Mapping[str, Sequence[Entry]]) -> tuple[list[RefusedPicture], list[RefusedPicture]]:
    """Return the PNG files that no list gives a label, and all other files in ``source`` besides pictures and lists."""
    used = {Path(f"{part}.lst") for part in PARTS}
    used |= {Path(part, entry.name) for part, entries in lists.items() for entry in entries}
    pictures, others = [], []
    for path in listing.files_below(source):
        below = path.relative_to(source)
        name = listing.shown(below.as_posix())
        if Path(files.nfc(str(below))) in used:
            continue
        if listing.by_system(below):
            others.append(RefusedPicture(name, listing.SYSTEM_REASON))
        elif below.parent.name in PARTS and below.suffix == ".png":
            pictures.append(RefusedPicture(name, f"{below.parent}.lst does not name it"))
        else:
            others.append(RefusedPicture(name, f"it is neither a list nor a .png file in {' or '.join(PARTS)}"))
    return pictures, others


def check_parts(source: Path) -> None:
    """Raise InputError for a folder or list that probably stands for a part of the data but would not be read."""
    for path in listing.entries(source):
        name = path.stem if path.suffix.casefold() == ".lst" else path.name
        part = listing.part(name)
        if part and name not in PARTS and (path.is_dir() or name != path.name):
            hint = "" if part in PARTS else ", of which data.scones.valid_fraction chooses the validation pictures"
            raise InputError(
                f"{source}: found {listing.shown(path.name)!r}, expected the folders train and test, and train.lst and test.lst{hint}: "
                "rename it, or move it out of the source"
            )


def check(
    source: Path, pictures: dict[str, list[ListedPicture]], refused: list[RefusedPicture], settings: Data
) -> None:
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


def without_copies(
    train: list[ListedPicture], test: list[ListedPicture]
) -> tuple[list[ListedPicture], list[RefusedPicture], int]:
    """Return the training pictures to use and those to leave out, and how many copies are in ``test``."""
    known = [
        copies.LabelledPicture(picture.file, part, picture.entry.label, picture.image.tobytes())
        for part, pictures in (("train", train), ("test", test))
        for picture in pictures
    ]
    excess = copies.excess(known)
    kept = [picture for index, picture in enumerate(train) if index not in excess]
    return kept, [RefusedPicture(known[index].file, reason) for index, reason in excess.items()], copies.repeated(known)


def main() -> None:
    settings = config.load("data.scones", Data)
    makers = [partial(make, classes=settings.classes) for make in (sample.write, official.fetch)]
    pictures: dict[str, list[ListedPicture]] = {}
    refused: list[RefusedPicture] = []
    with open_source("scones", settings, *makers) as source:
        check_parts(source.folder)
        lists = {part: layout.read_list(source.folder, part, settings.classes) for part in PARTS}
        for part, entries in lists.items():
            pictures[part], unusable = read_pictures(source.folder / part, entries)
            refused += unusable
        stray, others = unlisted(source.folder, lists)
        row = 1 + max(entry.row for entry in lists["train"])
        captured = labelled.read_list(labelled.FOLDER, settings.classes, row)
        extra, unusable = read_pictures(labelled.FOLDER, captured, prefix=LABELLED)
        refused += unusable + stray
        found = sum(map(len, pictures.values())) + len(extra) + len(refused) + len(others) + len(PARTS)
        pictures["train"], left_out, repeated = without_copies(pictures["train"] + extra, pictures["test"])
        check(source.folder, pictures, refused, settings)
        looks = {part: {one.file: copies.look(one.image) for one in pictures[part]} for part in PARTS}
        near = copies.near_copies(looks)
        note = copies.check_near(near, looks, source.folder, "data.scones.max_near_copies", settings.max_near_copies)
        name = source.name
    with files.new_folder(RAW) as folder:
        for part in PARTS:
            layout.write(folder, part, ((picture.entry, picture.image) for picture in pictures[part]))
        files.write_rows(folder / "refused.csv", RefusedPicture._fields, [*refused, *left_out, *others])
        copies.write_near(folder / "near_copies.csv", near)
        used = {part: len(pictures[part]) for part in PARTS}
        left = {"unusable": len(refused), "copies": len(left_out), "others": len(others)}
        files.write_json(folder / "counts.json", {"found": found, **used, "tables": len(PARTS), **left})
        files.write_json(folder / "about.json", {"source": name, "classes": settings.classes})
    if note:
        print(f"warning: {note}")
    if repeated:
        print(f"warning: {repeated} test pictures are copies of another one: the source's test set is not changed")
    print(
        f"scones from {name}, {found} files: {len(pictures['train'])} training and {len(pictures['test'])} test pictures in {RAW}, "
        f"{len(captured)} of all are labelled captured ones; {len(PARTS)} lists; left out {len(refused)} unusable pictures, "
        f"{len(left_out)} copies and {len(others)} other files (refused.csv there has the reasons)"
    )


if __name__ == "__main__":
    run(main)
