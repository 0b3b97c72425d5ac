"""Describe the columns of an hour: meaning, unit, range and codes.

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

COLDER, WARMER = 3, 7
"""Largest distance of atemp from the known formulas of the felt temperature, °C. In Kaggle's training hours it is 2 and 6.5."""

FAULT = 12, 24
"""A felt temperature from which on, and °C by which, atemp may be too low: in Kaggle's data it is 12.12 on a whole hot day."""

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
        """Return the allowed values, in words."""
        kind = f"a {'whole ' if self.whole else ''}number from {self.low:g} to {self.high:.9g}"
        if self.codes:
            return f"{kind} ({', '.join(f'{number} {name}' for number, name in self.codes.items())})"
        return f"{kind} {self.unit}".rstrip()

    @property
    def label(self) -> str:
        """Return the column's name in a plot: `temperature [°C]`, or `kind of weather (1 clear, ...)`."""
        if self.codes:
            first, *_, last = self.codes.items()
            return f"{self.meaning} ({first[0]} {first[1]} to {last[0]} {last[1]})"
        return f"{self.meaning} [{self.unit}]"


_SEASONS = {1: "winter", 2: "spring", 3: "summer", 4: "autumn"}  # by date: Kaggle's own names are one season late
_SWITCH = {0: "no", 1: "yes"}
_WEATHERS = {1: "clear", 2: "mist or cloud", 3: "light rain or snow", 4: "heavy rain or snow"}

COLUMNS = {
    "season": Column("season", "", 1, 4, whole=True, codes=_SEASONS),
    "holiday": Column("holiday", "", 0, 1, whole=True, codes=_SWITCH),
    "workingday": Column("working day", "", 0, 1, whole=True, codes=_SWITCH),
    "weather": Column("kind of weather", "", 1, 4, whole=True, codes=_WEATHERS),
    "temp": Column("temperature", "°C", -60, 60),
    "atemp": Column("felt temperature", "°C", -80, 80),
    "humidity": Column("relative humidity", "%", 0, 100),
    "windspeed": Column("wind speed", "km/h", 0, 250),
}
"""Kaggle's columns besides `datetime`."""

WEATHER = ["weather", "temp", "atemp", "humidity", "windspeed"]

COUNTS = {
    name: Column(f"{kind} riders", "riders per hour", 0, 1_000_000, whole=True)
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
        fits = column.low <= value <= column.high and (value == round(value) or not column.whole)
        if not fits or _is_fraction(name, value):
            raise CellError(row, name, text, column.expected + _likely(name, value, text))
        values[row] = value
    return values


def _number(text: str, column: Column) -> float:
    """Return the number that ``text`` is, or NaN."""
    if column.codes == _SWITCH:
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
    return next((words for pattern, words in _TIMES.items() if re.search(pattern, text, re.IGNORECASE)), "")


_TIMES = {
    # pandas writes midnight like this if no row has another hour
    r"^\s*\d{4}-\d\d-\d\d\s*$": ": write the hour, too, also at midnight",
    r"^\s*\d{9,}(\.\d*)?\s*$": ": convert seconds or milliseconds since 1970 to the town's own time",
    r"^\s*\d{1,2}[/.]\d{1,2}[/.]\d{2,4}": ": write year, month and day in this order",
    r"\d\s*[ap]\.?m\.?\s*$": ": write the hour from 00 to 23",
    r"\d:\d\d.*([+-]\d\d|[a-z]{1,5})\s*$": ": write the town's own time, without a time zone",
}


def in_celsius(fahrenheit: float) -> str:
    """Return the likely mistake of a temperature that is too high, as the end of a sentence."""
    return f": {fahrenheit:g} degrees Fahrenheit are {(fahrenheit - 32) / 1.8:.1f} °C"


def consistent(hours: pd.DataFrame) -> None:
    """Raise CellError for the first row whose values contradict each other: workingday, or the felt temperature."""
    working = (hours["datetime"].dt.weekday < 5) & (hours["holiday"] == 0)
    wrong = (hours["workingday"] == 1) != working
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        day = f"{hours['datetime'][row]:%A} with holiday {hours['holiday'][row]}"
        expected = f"{int(working[row])} on a {day}: a working day is from Monday to Friday and no holiday"
        raise CellError(row, "workingday", str(hours["workingday"][row]), expected)
    temp, atemp = hours["temp"], hours["atemp"]
    coldest, warmest = felt(temp, hours["humidity"], hours["windspeed"])
    faulty = (atemp >= FAULT[0]) & (temp - atemp <= FAULT[1])
    wrong = (atemp > warmest) | (atemp < coldest) & ~faulty
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        low, high = coldest[row], warmest[row]
        expected = f"{low:.0f} to {high:.0f} °C at temp {temp[row]:g}, this humidity and this wind"
        raise CellError(row, "atemp", f"{atemp[row]:g}", expected + _unit(temp[row], atemp[row], low, high))


def felt(temp: pd.Series, humidity: pd.Series, windspeed: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Return the lowest and the highest felt temperature that can be, °C.

    The bounds are those of Australia's apparent temperature (Steadman 1994), which wind lowers, and of Canada's humidex
    (Masterton and Richardson 1979), which damp air raises.
    """
    vapour = humidity / 100 * 6.105 * np.exp(17.27 * temp / (237.7 + temp))  # hPa
    windy = temp + 0.33 * vapour - 0.7 * windspeed / 3.6 - 4
    damp = temp + 5 / 9 * (vapour - 10)
    return temp.clip(upper=windy) - COLDER, temp.clip(lower=damp) + WARMER


def _unit(temp: float, atemp: float, low: float, high: float) -> str:
    """Return which of both temperatures is likely in another unit, as the end of a sentence."""
    if 0 <= temp <= 1 < atemp:
        return f": if temp is on UCI's scale of 0 to 1, multiply it by 41 to get {temp * 41:.1f} °C"
    if 0 <= atemp <= 1:
        return f": if atemp is on UCI's scale of 0 to 1, multiply it by 50 to get {atemp * 50:.1f} °C"
    if low <= (atemp - 32) / 1.8 <= high:
        return in_celsius(atemp)
    if atemp < low and abs((temp - 32) / 1.8 - atemp) <= WARMER:
        return f", both in °C: if temp is in degrees Fahrenheit, {temp:g} are {(temp - 32) / 1.8:.1f} °C"
    return ": both have to be in °C, windspeed in km/h and humidity in %"


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
