"""List the files of a source, and recognise system files and folders of a part of the data."""

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import NoReturn

from stages.common.errors import InputError

SYSTEM = {
    "__macosx", "@eadir", "#recycle", "$recycle.bin", "__pycache__", "desktop.ini", "ehthumbs.db", "icon\r", "lost+found",
    "system volume information", "thumbs.db",
}  # fmt: skip
"""Files and folders that operating systems and storage devices create, in lower case."""

SYSTEM_REASON = "a hidden file, or one that an operating system created"

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

VALIDATION = ("valid", "val", "validation", "dev")
"""Accepted names of a folder with the validation split. The others have one name each: train and test."""

_WHAT = "(?:data|dataset|set|split|images?|imgs?|photos?|photographs?|pictures?)?"
ALIKE = {
    "train": re.compile(f"{_WHAT}(?:train|training|trn){_WHAT}"),
    "valid": re.compile(f"{_WHAT}(?:val|valid|validate|validation|dev|development|eval|evaluation){_WHAT}"),
    "test": re.compile(f"{_WHAT}(?:test|tests|testing|tst){_WHAT}"),
}
"""Usual names of the parts, reduced to their letters."""


def part(name: str) -> str | None:
    """Guess the part of a folder or list from its name: train, valid, test, or None."""
    letters = re.sub("[^a-z]", "", unicodedata.normalize("NFKC", name).casefold())
    return next((part for part, pattern in ALIKE.items() if pattern.fullmatch(letters)), None)


def by_system(path: PurePath) -> bool:
    """Whether ``path``, relative to the source, is hidden or made by an operating system, or is in such a folder."""
    return any(name.startswith(".") or name.casefold() in SYSTEM for name in path.parts)


def files_below(folder: Path) -> list[Path]:
    """Return all files below ``folder``, sorted. A link counts as a file and is not followed.

    Raises InputError if a folder cannot be read.
    """
    found = []
    for parent, folders, names in os.walk(folder, onerror=_unreadable):
        here = Path(parent)
        found += [here / name for name in names]
        found += [here / name for name in folders if (here / name).is_symlink()]
    return sorted(found)


def entries(folder: Path) -> list[Path]:
    """Return what is directly in ``folder``, sorted by name because the order on disk is arbitrary.

    Raises InputError if it cannot be read.
    """
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        return _unreadable(error)


def written(names: Iterable[str]) -> str:
    """Return ``names`` for a message, with escapes for bytes that are not UTF-8."""
    return ", ".join(shown(name) for name in sorted(names))


def shown(name: str) -> str:
    """Return ``name`` with escapes for control characters and bytes that are not UTF-8, for tables and messages."""
    return CONTROL.sub(lambda found: ascii(found[0])[1:-1], name).encode(errors="backslashreplace").decode()


def _unreadable(error: OSError) -> NoReturn:
    raise InputError(f"{error.filename}: the folder cannot be read ({error.strerror})") from None
