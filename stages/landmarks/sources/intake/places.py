"""Where the known landmarks stand: the 50 of the published data set and ten more, in places.csv.

For a park, a sea, a reef or a wall it is a point in its middle or its best known one.
"""

import csv
import functools
import re
from pathlib import Path

PLACES = Path(__file__).with_name("places.csv")

Place = tuple[float, float, str]
"""Latitude and longitude in degrees (WGS 84), and where they are from."""


def lookup(class_name: str) -> Place | None:
    """The place of a class, or None if it isn't known: ``09.Golden_Gate_Bridge`` and ``golden gate bridge`` are one."""
    return _places().get(_key(class_name))


@functools.cache
def _places() -> dict[str, Place]:
    with PLACES.open(encoding="utf-8", newline="") as file:
        return {
            _key(row["class"]): (float(row["latitude"]), float(row["longitude"]), row["source"])
            for row in csv.DictReader(file)
        }


def _key(name: str) -> str:
    """``name`` without the number before it, case and separators."""
    return re.sub(r"[\W_]+", "", re.sub(r"^\d+[\W_]", "", name)).casefold()
