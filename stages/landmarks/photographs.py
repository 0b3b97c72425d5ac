"""The raw form of the photographs. They are packed because thousands of small files would make DVC slow.

train.zip, test.zip  the original files, not compressed again, as `<class>/<name>`, sorted by class and name
valid.zip            the same, only if the source has a validation split
images.csv           split,path,label,width,height,bytes,sha256: one row per photograph, in the order of the zips; path is the
                     name in its split's zip, width and height are of the upright picture, sha256 is of its pixels
                     (inspection.Inspected)
classes.csv          class,latitude,longitude,source: one row per class; its label is the row number, from 0; degrees,
                     empty if the coordinates are unknown
refused.csv          path,reason: one row per file that is left out, with its path in the source
looks.npy            what each photograph looks like, see `copies.look`, uint8 (N, 259), in the order of images.csv
near_copies.csv      file,near,difference: near copies in different splits (see copies.py), only if there are any
counts.json          how many files prepare found, used and left out, by kind
about.json           {"source": ...}
"""

import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from stages.common import files

SPLITS = ("train", "valid", "test")


class Photograph(NamedTuple):
    """A photograph: ``path`` is its name in the zip of its ``split``, ``width`` and ``height`` are in pixels."""

    split: str
    path: str
    label: int
    width: int
    height: int


class Landmark(NamedTuple):
    """Coordinates of a class's landmark in degrees, and their source; None and "" if unknown."""

    name: str
    latitude: float | None
    longitude: float | None
    source: str


class Packed(NamedTuple):
    """A photograph to pack: ``file`` is the source file, ``bytes`` its size, ``look`` that of `copies.look`."""

    photograph: Photograph
    file: Path
    look: bytes
    bytes: int
    sha256: str


def read_index(raw: Path, split: str) -> list[Photograph]:
    """Return the photographs of ``split`` (train, valid or test); no source needs to have valid."""
    return [
        Photograph(row["split"], row["path"], int(row["label"]), int(row["width"]), int(row["height"]))
        for row in _rows(raw / "images.csv")
        if row["split"] == split
    ]


def splits(raw: Path) -> list[str]:
    """Return the splits that there are: train, valid if the source has it, test."""
    return [split for split in SPLITS if (raw / f"{split}.zip").exists()]


def read_looks(raw: Path) -> dict[tuple[str, str], bytes]:
    """Return what each photograph looks like, see `copies.look`, by split and path."""
    looks = np.load(raw / "looks.npy")
    rows = _rows(raw / "images.csv")
    return {(row["split"], row["path"]): look.tobytes() for row, look in zip(rows, looks, strict=True)}


def read_classes(raw: Path) -> list[Landmark]:
    """Return the classes, label 0 first."""
    classes = []
    for row in _rows(raw / "classes.csv"):
        latitude, longitude = (float(row[axis]) if row[axis] else None for axis in ("latitude", "longitude"))
        classes.append(Landmark(row["class"], latitude, longitude, row["source"]))
    return classes


def open_archive(raw: Path, split: str) -> zipfile.ZipFile:
    """Open the zip of ``split``, whose `read(photograph.path)` returns a file's bytes and checks their CRC."""
    return zipfile.ZipFile(raw / f"{split}.zip")


def members(raw: Path, split: str) -> dict[str, zipfile.ZipInfo]:
    """Return the entries of ``split``'s files in the zip, by path. A reader of few files then needs no zip directory."""
    with open_archive(raw, split) as archive:
        return {one.filename: one for one in archive.infolist()}


def read(archive: BinaryIO, member: zipfile.ZipInfo) -> bytes:
    """Return the bytes of one file in the opened zip. Raises BadZipFile if they are not the written ones."""
    archive.seek(member.header_offset + 26)
    lengths = struct.unpack("<HH", archive.read(4))  # of name and extra field, which precede the file
    archive.seek(sum(lengths), os.SEEK_CUR)
    content = archive.read(member.file_size)
    if zlib.crc32(content) != member.CRC:
        raise zipfile.BadZipFile(f"bad CRC-32 at byte {member.header_offset}")
    return content


def write(
    folder: Path, packed: Sequence[Packed], places: Iterable[Landmark], refused: Iterable[tuple[str, str]], source: str
) -> None:
    """Fill ``folder``. The photographs are copied one at a time, in the given order."""
    for split in {photograph.split for photograph, *_ in packed}:
        with zipfile.ZipFile(folder / f"{split}.zip", "w", zipfile.ZIP_STORED) as archive:
            for photograph, file, *_ in packed:
                if photograph.split == split:
                    # Without the file's attributes, so that all copies of a source give the same zip.
                    member = zipfile.ZipInfo(photograph.path)  # dated 1980-01-01
                    member.create_system, member.external_attr = 3, 0o644 << 16  # Unix, rw-r--r--
                    archive.writestr(member, file.read_bytes())
    images = ((*one.photograph, one.bytes, one.sha256) for one in packed)
    files.write_rows(folder / "images.csv", [*Photograph._fields, "bytes", "sha256"], images)
    looks = np.frombuffer(b"".join(one.look for one in packed), np.uint8)
    np.save(folder / "looks.npy", looks.reshape(len(packed), -1))
    files.write_rows(folder / "classes.csv", ["class", "latitude", "longitude", "source"], places)
    files.write_rows(folder / "refused.csv", ["path", "reason"], refused)
    files.write_json(folder / "about.json", {"source": source})


def _rows(path: Path) -> Iterable[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from files.read_rows(file)
