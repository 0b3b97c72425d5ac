"""The published layout of the data set: `train/*.png`, `test/*.png`, and a list of the pictures of each.

The pictures are square, all of one side. A line of `train.lst` or `test.lst` is a row number, a label and a file name, separated by tabs, as SageMaker's built-in
image classification reads it. Only the lists define labels: a file's name may contain another class.
"""

import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.common.errors import InputError
from stages.common.files import nfc

Bytes = NDArray[np.uint8]

PARTS = ("train", "test")

SIDE = 32
"""Side in pixels of CIFAR-100's pictures and of the sample's."""

NAME = re.compile(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]*")
"""Name of a file directly in the folder, not hidden."""


class Entry(NamedTuple):
    """A line of a list."""

    row: int
    label: int
    name: str


class Candidate(NamedTuple):
    """A file that may be a picture: its path, its folder and name for messages, and the entry under which it is stored."""

    path: Path
    file: str
    entry: Entry


class Pictures(NamedTuple):
    """A part of a data set."""

    images: Bytes
    """(N, side, side, 3): red, green, blue."""
    labels: NDArray[np.int64]
    """(N), indices into a list of classes."""
    names: NDArray[np.str_]
    """(N), file names."""

    def of(self, chosen: NDArray[np.bool_]) -> "Pictures":
        """Return the pictures where ``chosen`` (N) is true."""
        return Pictures(self.images[chosen], self.labels[chosen], self.names[chosen])


def read_list(folder: Path, part: str, classes: Sequence[str]) -> list[Entry]:
    """Return the list of ``part``. Labels are indices into ``classes``, names are in Unicode's form NFC.

    Raises InputError with the file and the line of the first error, such as a missing picture. The pictures are not
    read.
    """
    path = folder / f"{part}.lst"
    try:
        lines = path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected {part}.lst beside the folder {part}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start}: found invalid UTF-8, expected text") from None
    entries: dict[str, Entry] = {}
    there = by_name(folder / part)
    for number, line in enumerate(lines, 1):
        try:
            entry = _entry(line, classes)
            if entry.name in entries:
                raise ValueError(f"found {entry.name} for the second time, expected each file once")
            if entry.name not in there or not there[entry.name].is_file():
                raise ValueError(f"found no file {entry.name} in the folder {part}, expected it there")
        except ValueError as error:
            raise InputError(f"{path}: line {number}: {error}") from None
        entries[entry.name] = entry
    return list(entries.values())


def candidates(folder: Path, entries: Iterable[Entry], prefix: str = "") -> list[Candidate]:
    """Return the files in ``folder`` that ``entries`` name. They are stored with ``prefix`` in their names."""
    there = by_name(folder)
    return [
        Candidate(there[entry.name], f"{folder.name}/{entry.name}", entry._replace(name=stored(prefix + entry.name)))
        for entry in entries
    ]


def stored(name: str) -> str:
    """Return the name under which a picture called ``name`` is stored, always as a PNG file."""
    return name if name.endswith(".png") else f"{name}.png"


def by_name(folder: Path) -> dict[str, Path]:
    """Return what is in ``folder`` by name in Unicode's form NFC; nothing if there is no folder.

    Raises InputError if two names differ only in their form.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if found.setdefault(nfc(path.name), path) != path:
            raise InputError(
                f"{folder}: found two entries named {nfc(path.name)}, whose names differ only in their Unicode form, expected one"
            )
    return found


def _entry(line: str, classes: Sequence[str]) -> Entry:
    fields = line.split("\t")
    if len(fields) != 3:
        raise ValueError(f"found {line[:80]!r}, expected row number, label and file name, separated by tabs")
    row, label, name = fields[0], fields[1], nfc(fields[2])
    if not re.fullmatch("[0-9]{1,9}", row):
        raise ValueError(f"found the row number {row!r}, expected a whole number")
    if not re.fullmatch("[0-9]{1,9}", label) or int(label) >= len(classes):
        meaning = ", ".join(f"{index} {name}" for index, name in enumerate(classes))
        raise ValueError(f"found the label {label!r}, expected one of data.scones.classes: {meaning}")
    if not NAME.fullmatch(name):
        raise ValueError(f"found the file name {name!r}, expected a name without a folder")
    return Entry(int(row), int(label), name)


def png(image: Bytes) -> bytes:
    """Return ``image``, uint8 (H, W, 3), as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def write(folder: Path, part: str, pictures: Iterable[tuple[Entry, Bytes]]) -> None:
    """Write the list of ``part`` and its PNG files, of images uint8 (side, side, 3), to ``folder``.

    Raises InputError if two have the same name, as far as the file system can tell.
    """
    (folder / part).mkdir()
    with (folder / f"{part}.lst").open("w", encoding="utf-8", newline="\n") as file:
        for entry, image in pictures:
            path = folder / part / entry.name
            if path.exists():
                raise InputError(f"found two pictures that would be stored as {part}/{entry.name}: rename one")
            file.write("\t".join(map(str, entry)) + "\n")
            path.write_bytes(png(image))
