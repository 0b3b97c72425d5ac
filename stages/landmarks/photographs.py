"""The raw form of the photographs. Thousands of small files would make DVC slow, so they are packed.

train.zip, test.zip  the files as they came, not compressed again, as `<class>/<name>`, by class and name
images.csv           split,path,label,width,height,bytes,sha256: a row a photograph, in the order of the zips; path is the
                     name in its split's zip, width and height are of the upright picture, sha256 is of its pixels
                     (inspection.Picture)
classes.csv          class,latitude,longitude,source: a row a class, whose label is the number of the row, from 0; degrees,
                     empty where the place isn't known
refused.csv          path,reason: a row a file that was left out, by its path in the source
about.json           {"source": ...}
"""

import csv
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from stages.common import files

SPLITS = ("train", "test")


class Photograph(NamedTuple):
    """``path`` is its name in the zip of its ``split`` (train or test); ``width`` and ``height`` are pixels."""

    split: str
    path: str
    label: int
    width: int
    height: int


class Place(NamedTuple):
    """Where the landmark of a class stands, in degrees, and who says so; None and "" where that isn't known."""

    name: str
    latitude: float | None
    longitude: float | None
    source: str


class Refused(NamedTuple):
    """A file that was left out, and one sentence on why."""

    path: str
    reason: str


class Member(NamedTuple):
    """Where a file lies in its zip: the byte at which its header begins, its length, and the CRC-32 of its bytes."""

    offset: int
    bytes: int
    crc: int


class Packed(NamedTuple):
    """A photograph on its way into the raw form: ``file`` holds it, of that many ``bytes``."""

    photograph: Photograph
    file: Path
    bytes: int
    sha256: str


def read_index(raw: Path, split: str) -> list[Photograph]:
    """The photographs of ``split`` (train or test)."""
    return [
        Photograph(row["split"], row["path"], int(row["label"]), int(row["width"]), int(row["height"]))
        for row in _rows(raw / "images.csv")
        if row["split"] == split
    ]


def read_classes(raw: Path) -> list[Place]:
    """The classes: label 0 first."""
    return [
        Place(row["class"], _degrees(row["latitude"]), _degrees(row["longitude"]), row["source"])
        for row in _rows(raw / "classes.csv")
    ]


def open_archive(raw: Path, split: str) -> zipfile.ZipFile:
    """The files of ``split``: `open_archive(raw, "train").read(photograph.path)` are the bytes of one, checked by their CRC."""
    return zipfile.ZipFile(raw / f"{split}.zip")


def members(raw: Path, split: str) -> dict[str, Member]:
    """Where the files of ``split`` lie in their zip, by their path: for who reads a few of millions, without the zip's directory."""
    with open_archive(raw, split) as archive:
        return {one.filename: Member(one.header_offset, one.file_size, one.CRC) for one in archive.infolist()}


def read(archive: BinaryIO, member: Member) -> bytes:
    """The bytes of one file out of the opened zip. Raises BadZipFile if they are others than were written."""
    archive.seek(member.offset + 26)
    lengths = struct.unpack("<HH", archive.read(4))  # of name and extra field, after which the file begins
    archive.seek(sum(lengths), os.SEEK_CUR)
    content = archive.read(member.bytes)
    if zlib.crc32(content) != member.crc:
        raise zipfile.BadZipFile(f"bad CRC-32 at byte {member.offset}")
    return content


def write(
    folder: Path, packed: Sequence[Packed], places: Iterable[Place], refused: Iterable[Refused], source: str
) -> None:
    """Fill ``folder``. The photographs are copied one at a time, in the order in which they are given."""
    for split in SPLITS:
        with zipfile.ZipFile(folder / f"{split}.zip", "w", zipfile.ZIP_STORED) as archive:
            for photograph, file, *_ in packed:
                if photograph.split == split:
                    archive.writestr(_entry(photograph.path), file.read_bytes())
    _write_rows(
        folder / "images.csv",
        [*Photograph._fields, "bytes", "sha256"],
        ((*photograph, size, sha256) for photograph, _, size, sha256 in packed),
    )
    _write_rows(folder / "classes.csv", ["class", "latitude", "longitude", "source"], places)
    _write_rows(folder / "refused.csv", Refused._fields, refused)
    files.write_json(folder / "about.json", {"source": source})


def _entry(name: str) -> zipfile.ZipInfo:
    """A member of a zip without anything of the file's own beside its ``name``: the same in every copy of the source."""
    member = zipfile.ZipInfo(name)  # dated 1980-01-01
    member.create_system, member.external_attr = 3, 0o644 << 16  # Unix, rw-r--r--
    return member


def _rows(path: Path) -> Iterable[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _write_rows(path: Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _degrees(text: str) -> float | None:
    return float(text) if text else None
