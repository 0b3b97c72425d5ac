"""The columns of an hour: what each means, its unit, its range and its codes.

prepare, the served model, its page and its model card use this one description, so what one refuses the others refuse.
Values are text, as a CSV file or a JSON body has them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FORMAT = "%Y-%m-%d %H:%M:%S"
YEARS = 2000, 2099
"""First and last year of an hour."""

FEELS = 30
"""Largest difference between temp and atemp, °C. Wind and humidity explain less; in Kaggle's data a fault explains 23."""

SHOWN = 60
"""Characters of a wrong value that a message shows."""

EXAMPLE = "2011-01-31 23:00:00"

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d)(?::(\d\d)(?:\.0+)?)?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
_YES = {"false": "0", "true": "1"}


class CellError(ValueError):
    """A value that an hour can't have. ``row`` counts from 0."""

    def __init__(self, row: int, column: str, found: str, expected: str) -> None:
        self.row = row
        super().__init__(f"column {column}: found {shown(found)}, expected {expected}")


@dataclass(frozen=True)
class Column:
    """A column of numbers from ``low`` to ``high``, whole numbers if ``whole``. ``codes`` names each number of a code."""

    meaning: str
    unit: str
    low: float
    high: float
    whole: bool = False
    codes: Mapping[int, str] = field(default_factory=dict)

    @property
    def expected(self) -> str:
        """What a value has to be, in words."""
        kind = f"a {'whole ' if self.whole else ''}number from {self.low:g} to {self.high:.9g}"
        if self.codes:
            return f"{kind} ({', '.join(f'{number} {name}' for number, name in self.codes.items())})"
        return f"{kind} {self.unit}".rstrip()

    @property
    def label(self) -> str:
        """What a plot calls it: `temperature [°C]`, or `kind of weather (1 clear, ...)`."""
        if self.codes:
            first, *_, last = self.codes.items()
            return f"{self.meaning} ({first[0]} {first[1]} to {last[0]} {last[1]})"
        return f"{self.meaning} [{self.unit}]"


_SWITCH = {0: "no", 1: "yes"}
_RIDERS = "riders per hour"

COLUMNS = {
    "season": Column(
        "season", "", 1, 4, whole=True, codes={1: "winter", 2: "spring", 3: "summer", 4: "autumn"}
    ),  # by date: Kaggle's own names are one season late
    "holiday": Column("holiday", "", 0, 1, whole=True, codes=_SWITCH),
    "workingday": Column("working day", "", 0, 1, whole=True, codes=_SWITCH),
    "weather": Column(
        "kind of weather",
        "",
        1,
        4,
        whole=True,
        codes={1: "clear", 2: "mist or cloud", 3: "light rain or snow", 4: "heavy rain or snow"},
    ),
    "temp": Column("temperature", "°C", -60, 60),
    "atemp": Column("felt temperature", "°C", -80, 80),
    "humidity": Column("relative humidity", "%", 0, 100),
    "windspeed": Column("wind speed", "km/h", 0, 250),
}
"""Kaggle's columns besides `datetime`."""

COUNTS = {
    name: Column(f"{kind} riders", _RIDERS, 0, 1_000_000, whole=True)
    for name, kind in (("casual", "casual"), ("registered", "registered"), ("count", "all"))
}

NAMES = ["datetime", *COLUMNS]
"""The columns of Kaggle's test.csv, which a request must have."""


def shown(value: str) -> str:
    """Return a wrong value as a message shows it: on one line, and cut."""
    value = " ".join(value.split())
    return (value if len(value) <= SHOWN else f"{value[:SHOWN]}... ({len(value)} characters)") or "nothing"


def numbers(name: str, texts: Sequence[str], column: Column) -> NDArray[np.float64]:
    """Return the values of a column, float64. Raise CellError for the first that ``column`` can't have."""
    values = np.empty(len(texts))
    for row, text in enumerate(texts):
        value = _number(text.strip(), column)
        if (
            not column.low <= value <= column.high
            or (column.whole and value != round(value))
            or _is_fraction(name, value)
        ):
            raise CellError(row, name, text, column.expected + _likely(name, value, text))
        values[row] = value
    return values


def _number(text: str, column: Column) -> float:
    """Return the number that ``text`` is, or NaN."""
    if column.codes.keys() == _SWITCH.keys():
        text = _YES.get(text.lower(), text)
    return float(text) if len(text) <= SHOWN and _NUMBER.fullmatch(text) else float("nan")


def _is_fraction(name: str, value: float) -> bool:
    """Return whether a humidity is on the scale of 0 to 1. No weather has 1 %. 0 is a sensor's fault in Kaggle's data."""
    return name == "humidity" and 0 < value <= 1


def _likely(name: str, value: float, text: str) -> str:
    """Return the likely mistake, as the end of a sentence."""
    if re.fullmatch(r"\s*[+-]?\d+,\d+\s*", text):
        return ": write a decimal point, not a comma"
    if name in ("temp", "atemp"):
        if 60 < value <= 150:
            return in_celsius(value)
        if 200 <= value <= 350:
            return f": {value:g} Kelvin are {value - 273.15:.1f} °C"
    if _is_fraction(name, value):
        return ": UCI's hour.csv has fractions, multiply its hum by 100, temp by 41, atemp by 50 and windspeed by 67"
    if name == "weather" and value == value:
        return ": translate the codes of other weather services (OpenWeatherMap's 800 is 1)"
    return ""


def _likely_time(text: str) -> str:
    """Return the likely mistake of a time, as the end of a sentence."""
    if re.fullmatch(r"\s*\d{4}-\d\d-\d\d\s*", text):  # pandas writes midnight like this if no row has another hour
        return ": write the hour, too, also at midnight"
    if re.fullmatch(r"\s*\d{9,}(\.\d*)?\s*", text):
        return ": convert seconds or milliseconds since 1970 to the town's own time"
    if re.match(r"\s*\d{1,2}[/.]\d{1,2}[/.]\d{2,4}", text):
        return ": write year, month and day in this order"
    return ""


def in_celsius(fahrenheit: float) -> str:
    """Return the likely mistake of a temperature that is too high, as the end of a sentence."""
    return f": {fahrenheit:g} degrees Fahrenheit are {(fahrenheit - 32) / 1.8:.1f} °C"


def differences(temp: NDArray[np.float64], atemp: NDArray[np.float64]) -> None:
    """Raise CellError for the first row in which temp and atemp can't be of the same hour and unit."""
    wrong = np.abs(atemp - temp) > FEELS
    if wrong.any():
        row = int(wrong.argmax())
        expected = f"at most {FEELS} °C more or less than temp {temp[row]:g}: both have to be in °C"
        raise CellError(row, "atemp", f"{atemp[row]:g}", expected)


def times(texts: Sequence[str]) -> pd.Series:
    """Return the hours as datetime64. Raise CellError for the first text that is no full hour of the town's own time.

    Reads `2011-01-31 23:00:00` and ISO 8601 without an offset. The data has the town's time without a time zone, so an
    offset can't be converted.
    """
    hours = []
    for row, text in enumerate(texts):
        found = _TIME.fullmatch(text.strip())
        if found and found[7]:
            expected = f"the town's own time without Z or offset, such as {EXAMPLE}: convert it first"
            raise CellError(row, "datetime", text, expected)
        try:
            hour = datetime(*(int(part or 0) for part in found.groups()[:6])) if found else None  # type: ignore[arg-type]
        except ValueError:  # no such day or hour
            hour = None
        if hour is None or hour.minute or hour.second:
            raise CellError(row, "datetime", text, f"an existing full hour, such as {EXAMPLE}{_likely_time(text)}")
        if not YEARS[0] <= hour.year <= YEARS[1]:
            raise CellError(row, "datetime", text, f"an hour of the years {YEARS[0]} to {YEARS[1]}")
        hours.append(hour)
    return pd.Series(hours, dtype="datetime64[ns]", name="datetime")
