"""Find the pictures of a source: by its lists, or by its folders, one per class.

train.lst, test.lst, train/*, test/*    the published layout (stages/scones/layout.py)
train/<class>/*, test/<class>/*         one folder per class
<class>/*                               the same without a test set
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from stages.common import files
from stages.common.errors import InputError
from stages.common.sources import folders, listing
from stages.common.sources.folders import RefusedFile
from stages.scones import layout
from stages.scones.layout import PARTS, Candidate, Entry

VALIDATION = "data.scones.valid_fraction chooses the validation pictures"

MAX_NAME = 255
"""Longest name of a stored file in bytes, as file systems have it."""


class Given(NamedTuple):
    """The contents of a source: each of its files is in one of the fields, or is a list."""

    parts: dict[str, list[Candidate]]
    """By train and test; without test if the source has none."""
    refused: list[RefusedFile]
    """Files that should be pictures, but are of no class or can't be used."""
    others: list[RefusedFile]
    lists: int


def find(source: Path, classes: Sequence[str]) -> Given:
    """Return the contents of ``source``, with labels as indices into ``classes``. Reads no picture.

    Raises InputError for an invalid list, other classes, or a part of the data under a wrong name.
    """
    if any(path.suffix.casefold() == ".lst" for path in listing.entries(source)):
        _check_parts(source)
        lists = {part: layout.read_list(source, part, classes) for part in PARTS}
        parts = {part: layout.candidates(source / part, entries) for part, entries in lists.items()}
        return Given(parts, *_unlisted(source, lists), len(PARTS))
    tree = folders.read(source, classes=classes)
    if set(tree.classes) != set(classes):
        raise InputError(
            f"{tree.root}: found the classes {', '.join(tree.classes)}, expected those of data.scones.classes: {', '.join(classes)}"
        )
    if any(one.split == "valid" for one in tree.candidates):
        raise InputError(f"{tree.root}: found a folder for validation, of which there is none here: {VALIDATION}")
    return _in_folders(tree, classes)


def _in_folders(tree: folders.Tree, classes: Sequence[str]) -> Given:
    """Return the pictures of ``tree``, numbered in the order of its classes' folders, with the class in their names."""
    whole = any(one.split is None for one in tree.candidates)
    given = Given({part: [] for part in PARTS if part == "train" or not whole}, [*tree.refused], tree.ignored, 0)
    for row, one in enumerate(tree.candidates):
        name = tree.classes[one.label]
        stored = layout.stored(f"{name}_{files.nfc(one.stored)}")
        if len(stored.encode()) > MAX_NAME:
            given.refused.append(
                RefusedFile(tree.name(one.file), f"its name has more than {MAX_NAME} bytes with the class")
            )
        else:
            entry = Entry(row, classes.index(name), stored)
            given.parts[one.split or "train"].append(Candidate(one.file, tree.name(one.file), entry))
    return given


def _check_parts(source: Path) -> None:
    """Raise InputError for a folder or list that probably stands for a part of the data but would not be read."""
    for path in listing.entries(source):
        name = path.stem if path.suffix.casefold() == ".lst" else path.name
        part = listing.part(name)
        if part and name not in PARTS and (path.is_dir() or name != path.name):
            hint = "" if part in PARTS else f", of which {VALIDATION}"
            raise InputError(
                f"{source}: found {listing.shown(path.name)!r}, expected the folders train and test, and train.lst and test.lst{hint}: "
                "rename it, or move it out of the source"
            )


def _unlisted(source: Path, lists: Mapping[str, Sequence[Entry]]) -> tuple[list[RefusedFile], list[RefusedFile]]:
    """Return the files beside the pictures that no list gives a label, and all other files in ``source``."""
    used = {Path(f"{part}.lst") for part in PARTS}
    used |= {Path(part, entry.name) for part, entries in lists.items() for entry in entries}
    pictures, others = [], []
    for path in listing.files_below(source):
        below = path.relative_to(source)
        name = listing.shown(below.as_posix())
        if Path(files.nfc(str(below))) in used:
            continue
        if listing.by_system(below):
            others.append(RefusedFile(name, listing.SYSTEM_REASON))
        elif below.parent.as_posix() in PARTS:
            pictures.append(RefusedFile(name, f"{below.parent}.lst does not name it"))
        else:
            others.append(RefusedFile(name, f"it is neither a list nor in {' or '.join(PARTS)}"))
    return pictures, others
