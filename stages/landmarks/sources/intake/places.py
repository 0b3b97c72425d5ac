"""Coordinates of the known landmarks in places.csv: the 50 of the published data set and ten more.

For a park, a sea, a reef or a wall they are those of its middle or of its best-known point.
"""

import csv
import functools
import re
from pathlib import Path

from stages.common.files import nfc

PLACES = Path(__file__).with_name("places.csv")

Coordinates = tuple[float, float, str]
"""Latitude and longitude in degrees (WGS 84), and their source."""


def lookup(class_name: str) -> Coordinates | None:
    """Return the place of a class, or None if unknown.

    ``09.Golden_Gate_Bridge`` and ``golden gate bridge`` are the same.
    """
    return _places().get(_key(class_name))


@functools.cache
def _places() -> dict[str, Coordinates]:
    with PLACES.open(encoding="utf-8", newline="") as file:
        return {
            _key(row["class"]): (float(row["latitude"]), float(row["longitude"]), row["source"])
            for row in csv.DictReader(file)
        }


def _key(name: str) -> str:
    """Return ``name`` in lower case, without its leading number and separators."""
    return re.sub(r"[\W_]+", "", re.sub(r"^\d+[\W_]", "", nfc(name))).casefold()
