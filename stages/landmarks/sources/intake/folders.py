"""The published layout of the photographs: a folder a class, below `train` and `test` or in one tree."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from stages.common.errors import InputError
from stages.landmarks.photographs import SPLITS, Refused

NOT_PICTURES = {"__MACOSX", "Thumbs.db", "desktop.ini"}
"""What systems leave behind, beside files whose names begin with a dot. They are passed over."""


class Candidate(NamedTuple):
    """A file in a class's folder; ``split`` is None where the source leaves it open."""

    split: str | None
    label: int
    file: Path


class Tree(NamedTuple):
    """What a source holds: ``candidates`` by split (train before test), class and name, and what is no file."""

    root: Path
    classes: list[str]
    candidates: list[Candidate]
    refused: list[Refused]

    def name(self, file: Path) -> str:
        """The path of ``file`` below the root, as tables and messages have it."""
        return shown(file.relative_to(self.root).as_posix())


def read(source: Path) -> Tree:
    """The tree in ``source``, or in its only sub-folder. Raises InputError where there is none.

    Beside `train` and `test`, other folders are passed over; so are files beside the folders of the classes.
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
        raise InputError(f"{root}: found a folder {there} and none called {missing}, expected both or neither")
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
    """``name`` with escapes for bytes that are not UTF-8, which no table could hold."""
    return name.encode(errors="backslashreplace").decode()


def _classes(root: Path, sides: list[list[Path]]) -> list[str]:
    """The names of the classes, sorted; ``sides`` are the folders in train and in test, or those of the one tree."""
    first, *others = [{folder.name for folder in side} for side in sides]
    for other in others:
        if first != other:
            alone = {"train": first - other, "test": other - first}
            found = "; ".join(f"{', '.join(map(shown, sorted(own)))} in {at} alone" for at, own in alone.items() if own)
            raise InputError(f"{root}: found {found}; expected the same classes in train and test")
    if len(first) < 2:
        raise InputError(
            f"{root}: found {len(first)} folders of classes, expected at least 2: train/<class>/ and test/<class>/, or <class>/"
        )
    for name in sorted(first):
        if shown(name) != name:
            raise InputError(f"{root}: found a class {shown(name)}, expected a name in UTF-8")
    return sorted(first)


def _fault(file: Path, source: Path) -> str | None:
    """Why ``file`` is not even opened, or None."""
    if shown(file.name) != file.name:
        return "its name is not UTF-8"
    if _leads_outside(file, source):
        return "it is a link that leads out of the source"
    if file.is_dir():
        return "it is a folder, expected pictures alone in the folder of a class"
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
    """What is in ``folder``, sorted by name: its order on the disk says nothing."""
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and path.name not in NOT_PICTURES:
            yield path


def _leads_outside(path: Path, source: Path) -> bool:
    return path.is_symlink() and path.exists() and not path.resolve().is_relative_to(source)
