"""Coordinates of the landmarks: from the source's places.csv or, if missing there, from the table of known places."""

import csv
from collections.abc import Sequence
from pathlib import Path

from stages.common.errors import InputError
from stages.common.files import nfc
from stages.landmarks.photographs import Landmark
from stages.landmarks.sources.intake import places

COLUMNS = ["class", "latitude", "longitude"]


def read_places(path: Path | None, classes: Sequence[str]) -> list[Landmark]:
    """Return the coordinates of each class. ``path`` may be None or list only some classes.

    Raises InputError with the file and line of an error.
    """
    own = _read(path, classes) if path else {}
    return [own.get(name) or _known(name) for name in classes]


def _known(name: str) -> Landmark:
    found = places.lookup(name)
    return Landmark(name, *found) if found else Landmark(name, None, None, "")


def _read(path: Path, classes: Sequence[str]) -> dict[str, Landmark]:
    result: dict[str, Landmark] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            if header != COLUMNS:
                raise InputError(f"{path}: line 1: found {','.join(header) or 'nothing'}, expected {','.join(COLUMNS)}")
            for row in reader:
                place = _place(f"{path}: line {reader.line_num}", row)
                if place.name not in classes:
                    raise InputError(
                        f"{path}: line {reader.line_num}: found {place.name!r}, expected the name of a class folder"
                    )
                if place.name in result:
                    raise InputError(
                        f"{path}: line {reader.line_num}: found {place.name} again, expected each class once"
                    )
                result[place.name] = place
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: found invalid CSV ({error}), expected CSV in UTF-8") from None
    return result


def _place(where: str, row: list[str]) -> Landmark:
    if len(row) != len(COLUMNS):
        raise InputError(f"{where}: found {len(row)} values, expected {','.join(COLUMNS)}")
    name, *degrees = row
    latitude, longitude = (
        _degrees(f"{where}, column {column}", text, limit)
        for column, text, limit in zip(COLUMNS[1:], degrees, (90, 180), strict=True)
    )
    return Landmark(nfc(name), latitude, longitude, "places.csv")


def _degrees(where: str, text: str, limit: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not -limit <= value <= limit:  # also true for NaN
        raise InputError(f"{where}: found {text or 'nothing'}, expected degrees from -{limit} to {limit}")
    return value
