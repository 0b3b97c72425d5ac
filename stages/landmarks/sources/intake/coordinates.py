"""Coordinates of the landmarks: from the source's places.csv or, if missing there, from the table of known places.

That table, places.csv beside this file, has the 50 landmarks of the published data set and ten more. For a park, a sea, a
reef or a wall it has the coordinates of the middle or of the best-known point.
"""

import csv
import functools
import re
from collections.abc import Sequence
from pathlib import Path

from stages.common.errors import InputError
from stages.common.files import nfc
from stages.landmarks.photographs import Landmark

KNOWN = Path(__file__).with_name("places.csv")

COLUMNS = ["class", "latitude", "longitude"]

Coordinates = tuple[float, float, str]
"""Latitude and longitude in degrees (WGS 84), and their source."""


def read_places(path: Path | None, classes: Sequence[str]) -> list[Landmark]:
    """Return the coordinates of each class. ``path`` may be None or list only some classes.

    Raises InputError with the file and line of an error.
    """
    own = _read(path, classes) if path else {}
    return [Landmark(name, *(own.get(name) or lookup(name) or (None, None, ""))) for name in classes]


def lookup(class_name: str) -> Coordinates | None:
    """Return the known place of a class, or None. ``09.Golden_Gate_Bridge`` and ``golden gate bridge`` are the same."""
    return _known().get(_key(class_name))


@functools.cache
def _known() -> dict[str, Coordinates]:
    with KNOWN.open(encoding="utf-8", newline="") as file:
        return {
            _key(row["class"]): (float(row["latitude"]), float(row["longitude"]), row["source"])
            for row in csv.DictReader(file)
        }


def _key(name: str) -> str:
    """Return ``name`` in lower case, without its leading number and separators."""
    return re.sub(r"[\W_]+", "", re.sub(r"^\d+[\W_]", "", nfc(name))).casefold()


def _read(path: Path, classes: Sequence[str]) -> dict[str, Coordinates]:
    result: dict[str, Coordinates] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            if header != COLUMNS:
                raise InputError(f"{path}: line 1: found {','.join(header) or 'nothing'}, expected {','.join(COLUMNS)}")
            for row in reader:
                where = f"{path}: line {reader.line_num}"
                if len(row) != len(COLUMNS):
                    raise InputError(f"{where}: found {len(row)} values, expected {','.join(COLUMNS)}")
                name = nfc(row[0])
                place = _degrees(where, "latitude", row[1], 90), _degrees(where, "longitude", row[2], 180), "places.csv"
                if name not in classes:
                    raise InputError(f"{where}: found {name!r}, expected the name of a class folder")
                if name in result:
                    raise InputError(f"{where}: found {name} again, expected each class once")
                result[name] = place
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: found invalid CSV ({error}), expected CSV in UTF-8") from None
    return result


def _degrees(where: str, column: str, text: str, limit: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not -limit <= value <= limit:  # also true for NaN
        expected = f"degrees from -{limit} to {limit}"
        raise InputError(f"{where}, column {column}: found {text or 'nothing'}, expected {expected}")
    return value
