"""What a model knows of each column: which hours it refuses, and which it answers with a warning.

`columns` has what no hour can have. This module has what the town never had.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.bikes.hours import holidays
from stages.bikes.hours.columns import COLUMNS, FORMAT, WEATHER, CellError, in_celsius

Values = NDArray[np.float64]
Found = NDArray[np.bool_]

TOO_FAR = 15
"""°C above or below all known temperatures of the time of year, from which on an hour is refused: another unit."""

BIN = 4
"""Width of the bins of temp in which the differences of atemp are compared, °C."""


def ranges(training: pd.DataFrame) -> dict[str, list[float]]:
    """Return the lowest and the highest value of each column of `WEATHER` in the training hours."""
    return {name: [float(training[name].min()), float(training[name].max())] for name in WEATHER}


class Plausible:
    """What is usual in the record ``known``, and in the training hours, whose ``trained`` ranges `ranges` gave.

    ``kind`` is the kind of features: `full` has the calendar instead of holiday, workingday and season.
    """

    def __init__(self, kind: str, known: pd.DataFrame, trained: dict[str, list[float]]) -> None:
        self._calendar = kind == "full"
        self._first, self._last = known["datetime"].min(), known["datetime"].max()
        self.trained = trained
        by_month = known.groupby(known["datetime"].dt.month)["temp"]
        self._coldest, self._hottest = (_near(by_month.min(), "min"), _near(by_month.max(), "max"))
        winds = known["windspeed"]
        self._breeze = float(winds[winds > 0].min()) if (winds > 0).any() else 0.0
        by_temp = (known["atemp"] - known["temp"]).groupby(known["temp"] // BIN)
        felt = by_temp.agg(["min", "max"])
        self._bins = int(felt.index.min()), int(felt.index.max())
        felt = felt.reindex(range(self._bins[0] - 1, self._bins[1] + 2))
        near = felt.rolling(3, center=True, min_periods=1)
        self._felt = near["min"].min().to_numpy()[1:-1] - 1, near["max"].max().to_numpy()[1:-1] + 1
        self._temp = known.set_index("datetime")["temp"]
        self._flags = known.groupby(known["datetime"].dt.normalize())["holiday"].first()

    def check(self, hours: pd.DataFrame) -> list[list[str]]:
        """Return the warnings of each of ``hours``. Raise CellError for the first whose temperature can't be in °C."""
        # Arrays, because each operation of pandas has a cost that is large for one hour.
        when, month = hours["datetime"], hours["datetime"].dt.month.to_numpy()
        values = {name: hours[name].to_numpy() for name in WEATHER}
        temp, wind = values["temp"], values["windspeed"]
        coldest, hottest = self._coldest[month - 1], self._hottest[month - 1]
        far = (temp > hottest + TOO_FAR) | (temp < coldest - TOO_FAR)
        if far.any():
            row = int(far.argmax())
            low, high = f"{coldest[row] - TOO_FAR:g}", f"{hottest[row] + TOO_FAR:g}"
            expected = f"{low} to {high} °C at this time of year"
            expected += in_celsius(temp[row]) if temp[row] > hottest[row] else _scaled(temp[row])
            raise CellError(row, "temp", f"{temp[row]:g} on {when[row]:%Y-%m-%d}", expected)
        grown = "demand is taken not to grow outside the training period"
        unknown = f"{grown}, and the weather around the hour is estimated"
        known, usual = self._temp.reindex(when).to_numpy(), "known hours of this time of year: is it in °C"
        first, last = f"{self._first:{FORMAT}}", f"{self._last:{FORMAT}}"
        tests = {
            f"the hour is after all known hours (to {last}): {unknown}": when.to_numpy() > self._last,
            f"the hour is before all known hours (from {first}): {unknown}": when.to_numpy() < self._first,
            **{self._words(name): self._outside(name, values[name]) for name in WEATHER},
            f"temp is above all {usual}?": temp > hottest,
            f"temp is below all {usual}, not on UCI's scale of 0 to 1?": temp < coldest,
            "temp is from 0 to 1: is it in °C, not on UCI's scale of 0 to 1?": (temp >= 0)
            & (temp <= 1)
            & (known != temp),
            "atemp differs from temp more than in known hours of this temperature: are both in °C?": self._odd(hours),
            f"windspeed is below all known winds, from {self._breeze:g} km/h: is it in km/h, not in m/s, mph or on UCI's "
            "scale of 0 to 1?": (wind > 0) & (wind < self._breeze),
            **self._dates(hours),
        }
        warnings: list[list[str]] = [[] for _ in range(len(hours))]
        for words, found in tests.items():
            for place in np.flatnonzero(found):
                warnings[int(place)].append(words)
        return warnings

    def _odd(self, hours: pd.DataFrame) -> Found:
        """Return whether atemp - temp is outside the known differences at temperatures of the same bin and its neighbours."""
        temp, (first, last) = hours["temp"].to_numpy(), self._bins
        bins = (temp // BIN).clip(first, last).astype(int) - first
        low, high = self._felt
        difference = hours["atemp"].to_numpy() - temp
        return np.asarray((difference < low[bins]) | (difference > high[bins]), np.bool_)

    def _dates(self, hours: pd.DataFrame) -> dict[str, Found]:
        """Return which hours have another holiday or season than their date, by the words for them."""
        when, date = hours["datetime"].dt, hours["datetime"].dt.normalize()
        month, day, quarter = when.month.to_numpy(), when.day.to_numpy(), when.quarter.to_numpy()
        holiday, season = hours["holiday"].to_numpy(), hours["season"].to_numpy()
        same = self._flags.reindex(date).to_numpy() == holiday
        named = np.array(holidays.names(date), object)
        # Kaggle's seasons change on about the 21st of the quarter's last month.
        turning = (month % 3 == 0) & (day >= 19) & (season == quarter % 4 + 1)
        used, kept, ignored = ("as sent",) * 3
        if self._calendar:
            used, kept, ignored = "as a day without work", "for the holiday", "by its date"
        unnamed, other = holidays.others(date, hours["holiday"]) & ~same, (season != quarter) & ~turning
        tests = {
            f"holiday is 1 on a day that is no US federal holiday: it is answered {used}": unnamed,
            f"season is not that of the date, 1 from about 21 December to 20 March: it is answered {ignored}": other,
        }
        for name in dict.fromkeys(one for one in named if one):
            tests[f"holiday is 0 on {name}: it is answered {kept}"] = (named == name) & (holiday == 0) & ~same
        return tests

    def _outside(self, name: str, values: Values) -> Found:
        low, high = self.trained[name]
        return np.asarray((values < low) | (values > high), np.bool_)

    def _words(self, name: str) -> str:
        low, high = self.trained[name]
        span = f"{low:g} to {high:g} {COLUMNS[name].unit}".rstrip()
        return f"{name} is outside the training data's {span}: the answer is that of the nearest value in it"


def _scaled(temp: float) -> str:
    """Return the likely mistake of a temperature that is too low, as the end of a sentence."""
    return f": if it is on UCI's scale of 0 to 1, multiply it by 41 to get {temp * 41:.1f} °C" if 0 <= temp <= 1 else ""


def _near(by_month: pd.Series, extreme: str) -> Values:
    """Return the extreme of each month and its neighbours, January first. Months without any get that of all months."""
    months = [by_month.reindex([(month + step - 1) % 12 + 1 for month in range(1, 13)]) for step in (-1, 0, 1)]
    near = pd.DataFrame([month.to_numpy() for month in months]).agg(extreme)
    return near.fillna(by_month.agg(extreme)).to_numpy()
