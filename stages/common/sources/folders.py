"""The layout of pictures as one folder per class, below `train` and `test` or in one tree."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from stages.common.errors import InputError
from stages.common.files import nfc
from stages.common.sources import listing
from stages.common.sources.listing import VALIDATION, shown


class RefusedFile(NamedTuple):
    """A file that is left out, and one sentence with the reason."""

    path: str
    reason: str


class Candidate(NamedTuple):
    """A file in a class's folder, to be stored under the name ``stored``. ``split`` is None if the source has no parts."""

    split: str | None
    label: int
    file: Path
    stored: str


class Tree(NamedTuple):
    """The contents of a source: each of its files is in one of the lists, or is the table.

    ``candidates`` are ordered by split (train, valid, test), class and name. ``refused`` are other files in class
    folders, ``ignored`` are files elsewhere and those of operating systems.
    """

    root: Path
    classes: list[str]
    table: Path | None
    candidates: list[Candidate]
    refused: list[RefusedFile]
    ignored: list[RefusedFile]

    def name(self, file: Path) -> str:
        """Return the path of ``file`` from the root, for tables and messages. Labelled pictures have theirs in the checkout."""
        return shown(Path(os.path.relpath(file, self.root) if file.is_absolute() else file).as_posix())


def read(source: Path, table: str = "", classes: Collection[str] = ()) -> Tree:
    """Return the tree in ``source``, or in the only folder in it. Raises InputError if there is none.

    Class names are in Unicode's form NFC. ``table`` is the name of a file beside the folders that is read, too.
    Folders that have the names of all ``classes`` are classes, although one may be called train.
    """
    source = root = source.resolve()
    while len(found := _folders(root, source)) == 1:
        root = found[0]
    splits = {} if classes and {nfc(folder.name) for folder in found} >= set(classes) else _splits(root, found)
    sides: dict[str | None, dict[str, Path]] = {split: _by_class(folder, source) for split, folder in splits.items()}
    sides = sides or {None: _by_class(root, source)}
    around = [folder for folder in (root, *root.parents) if folder.is_relative_to(source)]
    tables = [folder / table for folder in around if table and (folder / table).is_file()]
    tree = Tree(root, _classes(root, sides), tables[0] if tables else None, [], [], [])
    class_folders = {folder for folders in sides.values() for folder in folders.values()}
    for split, folders in sides.items():
        for label, name in enumerate(tree.classes):
            _read_class(tree, source, split, label, folders[name])
    used = {*class_folders, *splits.values(), *around, tree.table}
    for file in listing.files_below(source):
        if file not in used and class_folders.isdisjoint(file.parents):
            system = listing.by_system(file.relative_to(source))
            reason = listing.SYSTEM_REASON if system else "it is in no class folder"
            tree.ignored.append(RefusedFile(tree.name(file), reason))
    return tree


def _read_class(tree: Tree, source: Path, split: str | None, label: int, folder: Path) -> None:
    for file in listing.files_below(folder):
        below = file.relative_to(folder)
        if listing.by_system(below):
            tree.ignored.append(RefusedFile(tree.name(file), listing.SYSTEM_REASON))
        elif fault := _fault(file, below, source):
            tree.refused.append(RefusedFile(tree.name(file), fault))
        else:
            tree.candidates.append(Candidate(split, label, file, file.name))


def _splits(root: Path, found: list[Path]) -> dict[str, Path]:
    """Return the folders of train, valid (if there is one) and test; nothing if ``found`` are folders of classes.

    Raises InputError for a folder that probably stands for a part but has another name: it would be left out, or be
    taken for a class.
    """
    names = {folder.name: folder for folder in found}
    meant = {name: part for name in names if (part := listing.part(name))}
    expected = f"train and test, and for a validation split one of {', '.join(VALIDATION)}"
    if names.keys() >= {"train", "test"}:
        validation = [name for name in VALIDATION if name in names]
        if len(validation) > 1:
            raise InputError(f"{root}: found the folders {' and '.join(validation)}, expected one validation split")
        chosen = [("train", "train"), *(("valid", name) for name in validation), ("test", "test")]
        splits = {part: names[name] for part, name in chosen}
        classes = _by_name(names["train"]).keys()
        for name, folder in names.items():
            if folder not in splits.values() and (name in meant or _by_name(folder).keys() & classes):
                beside = f"the folder {shown(name)!r} beside train and test"
                remedy = "rename it, or move it out of the source"
                raise InputError(f"{root}: found {beside}, expected {expected}: {remedy}")
        return splits
    halved = not names.keys().isdisjoint(("train", "test")) or len(set(meant.values())) > 1
    if halved or any(_subfolders(names[name]) for name in meant):
        right = [name for name in meant if name in ("train", "test", *VALIDATION)]
        wrong = [f"{shown(name)!r} (expected {part})" for name, part in meant.items() if name not in right]
        missing = [f"no folder {name}" for name in ("train", "test") if name not in meant.values()]
        raise InputError(
            f"{root}: found a folder {', '.join(right + wrong)}{' but ' if missing else ''}{' and '.join(missing)}, "
            f"expected {expected}, or only folders of classes"
        )
    return {}


def _by_name(folder: Path) -> dict[str, Path]:
    return {nfc(path.name): path for path in _subfolders(folder)}


def _by_class(folder: Path, source: Path) -> dict[str, Path]:
    """Return the class folders in ``folder`` by class. Raises InputError if two names are the same class."""
    classes: dict[str, Path] = {}
    for path in _folders(folder, source):
        name = nfc(path.name)
        if shown(path.name) != path.name:
            found, expected = f"a class {shown(path.name)}", "a name in UTF-8, without control characters"
            raise InputError(f"{folder}: found {found}, expected {expected}")
        if classes.setdefault(name, path) != path:
            found = f"two folders {name}, whose names differ only in their Unicode form"
            raise InputError(f"{folder}: found {found}, expected one")
    return classes


def _classes(root: Path, sides: Mapping[str | None, Mapping[str, Path]]) -> list[str]:
    """Return the sorted names of the classes, the same in all ``sides``."""
    known = set().union(*sides.values())
    if len(known) < 2:
        expected = "at least 2: train/<class>/ and test/<class>/, or <class>/"
        raise InputError(f"{root}: found {len(known)} class folders, expected {expected}")
    lacking = {split: known - side.keys() for split, side in sides.items() if known - side.keys()}
    if lacking:
        found = "; ".join(f"no {listing.written(names)} in {split}" for split, names in lacking.items())
        raise InputError(f"{root}: found {found}; expected the same classes in {', '.join(map(str, sides))}")
    return sorted(known)


def _fault(file: Path, below: Path, source: Path) -> str | None:
    """Return the reason why ``file``, which is ``below`` its class's folder, cannot be used, or None."""
    if shown(str(below)) != str(below):
        return "its name is not UTF-8, or has control characters"
    if len(below.parts) > 1:
        return "it is in a folder in a class folder, expected only pictures in a class folder"
    if _leads_outside(file, source):
        return "it is a link that leads out of the source"
    if file.is_dir():
        return "it is a link to a folder, expected only pictures in a class folder"
    if not file.is_file():
        return "it is not a file"
    return None


def _folders(folder: Path, source: Path) -> list[Path]:
    found = _subfolders(folder)
    for path in found:
        if _leads_outside(path, source):
            raise InputError(f"{path}: found a link that leads out of the source, expected a folder")
    return found


def _subfolders(folder: Path) -> list[Path]:
    """Return the visible folders in ``folder``, sorted by name."""
    return [path for path in listing.entries(folder) if path.is_dir() and not listing.by_system(Path(path.name))]


def _leads_outside(path: Path, source: Path) -> bool:
    return path.is_symlink() and path.exists() and not path.resolve().is_relative_to(source)
