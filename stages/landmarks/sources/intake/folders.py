"""The published layout of the photographs: one folder per class, below `train` and `test` or in one tree."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from stages.common.errors import InputError
from stages.landmarks.photographs import SPLITS, Refused

NOT_PICTURES = {"__MACOSX", "Thumbs.db", "desktop.ini"}
"""Files that operating systems create. They are ignored, as are files whose names begin with a dot."""


class Candidate(NamedTuple):
    """A file in a class's folder. ``split`` is None if the source has no train and test folders."""

    split: str | None
    label: int
    file: Path


class Tree(NamedTuple):
    """The contents of a source: ``candidates`` by split (train before test), class and name, and refused entries."""

    root: Path
    classes: list[str]
    candidates: list[Candidate]
    refused: list[Refused]

    def name(self, file: Path) -> str:
        """Return the path of ``file`` below the root, for tables and messages."""
        return shown(file.relative_to(self.root).as_posix())


def read(source: Path) -> Tree:
    """Return the tree in ``source``, or in its only subfolder. Raises InputError if there is none.

    Other folders beside `train` and `test` are ignored, as are files beside the class folders.
    """
    source = root = source.resolve()
    found = _folders(root, source)
    if len(found) == 1:
        root = found[0]
        found = _folders(root, source)
    names = {folder.name for folder in found}
    by_split: dict[str | None, list[Path]] = {None: found}
    if names.issuperset(SPLITS):
        by_split = {split: _folders(root / split, source) for split in SPLITS}
    elif not names.isdisjoint(SPLITS):
        there, missing = sorted(SPLITS, key=lambda split: split not in names)
        raise InputError(f"{root}: found a folder {there} but no folder {missing}, expected both or neither")
    tree = Tree(root, _classes(root, list(by_split.values())), [], [])
    for split, class_folders in by_split.items():
        for folder in class_folders:
            for file in _visible(folder):
                fault = _fault(file, source)
                if fault is None:
                    tree.candidates.append(Candidate(split, tree.classes.index(folder.name), file))
                else:
                    tree.refused.append(Refused(tree.name(file), fault))
    return tree


def shown(name: str) -> str:
    """Return ``name`` with escapes for bytes that are not UTF-8, which cannot be written to a table."""
    return name.encode(errors="backslashreplace").decode()


def _classes(root: Path, sides: list[list[Path]]) -> list[str]:
    """Return the sorted names of the classes. ``sides`` are the folders in train and in test, or in the one tree."""
    first, *others = [{folder.name for folder in side} for side in sides]
    for other in others:
        if first != other:
            alone = {"train": first - other, "test": other - first}
            found = "; ".join(f"{', '.join(map(shown, sorted(own)))} only in {at}" for at, own in alone.items() if own)
            raise InputError(f"{root}: found {found}; expected the same classes in train and test")
    if len(first) < 2:
        raise InputError(
            f"{root}: found {len(first)} class folders, expected at least 2: train/<class>/ and test/<class>/, or <class>/"
        )
    for name in sorted(first):
        if shown(name) != name:
            raise InputError(f"{root}: found a class {shown(name)}, expected a name in UTF-8")
    return sorted(first)


def _fault(file: Path, source: Path) -> str | None:
    """Return the reason why ``file`` cannot be opened, or None."""
    if shown(file.name) != file.name:
        return "its name is not UTF-8"
    if _leads_outside(file, source):
        return "it is a link that leads out of the source"
    if file.is_dir():
        return "it is a folder, expected only pictures in a class folder"
    if not file.is_file():
        return "it is not a file"
    return None


def _folders(folder: Path, source: Path) -> list[Path]:
    found = [path for path in _visible(folder) if path.is_dir()]
    for path in found:
        if _leads_outside(path, source):
            raise InputError(f"{path}: found a link that leads out of the source, expected a folder")
    return found


def _visible(folder: Path) -> Iterator[Path]:
    """Yield the visible entries of ``folder``, sorted by name because the order on disk is arbitrary."""
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and path.name not in NOT_PICTURES:
            yield path


def _leads_outside(path: Path, source: Path) -> bool:
    return path.is_symlink() and path.exists() and not path.resolve().is_relative_to(source)
