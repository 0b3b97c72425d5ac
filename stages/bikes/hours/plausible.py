"""What a model knows of each column: which hours it refuses, and which it answers with a warning.

`columns` has what no hour can have. This module has what the town never had.
"""

import numpy as np
import pandas as pd

from stages.bikes.hours import holidays
from stages.bikes.hours.columns import COLUMNS, FORMAT, CellError, in_celsius

TOO_FAR = 15
"""°C above or below all known temperatures of the time of year, from which on an hour is refused: another unit."""

WEATHER = ["weather", "temp", "atemp", "humidity", "windspeed"]

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
        self._felt = by_temp.agg(["min", "max"])
        self._temp = known.set_index("datetime")["temp"]
        self._flags = known.groupby(known["datetime"].dt.normalize())["holiday"].first()

    def check(self, hours: pd.DataFrame) -> list[list[str]]:
        """Return the warnings of each of ``hours``. Raise CellError for the first whose temperature can't be in °C."""
        temp, month = hours["temp"].to_numpy(), hours["datetime"].dt.month
        coldest, hottest = self._coldest.loc[month].to_numpy(), self._hottest.loc[month].to_numpy()
        far = (temp > hottest + TOO_FAR) | (temp < coldest - TOO_FAR)
        if far.any():
            row = int(far.argmax())
            low, high = f"{coldest[row] - TOO_FAR:g}", f"{hottest[row] + TOO_FAR:g}"
            expected = f"{low} to {high} °C at this time of year"
            expected += in_celsius(temp[row]) if temp[row] > hottest[row] else _scaled(temp[row])
            raise CellError(row, "temp", f"{temp[row]:g} on {hours['datetime'][row]:%Y-%m-%d}", expected)
        when, wind = hours["datetime"], hours["windspeed"]
        unknown = (
            "demand is taken not to grow outside the training period, and the weather around the hour is estimated"
        )
        tests = {
            f"the hour is after all known hours (to {self._last:{FORMAT}}): {unknown}": when > self._last,
            f"the hour is before all known hours (from {self._first:{FORMAT}}): {unknown}": when < self._first,
            **{self._words(name): self._outside(name, hours[name]) for name in WEATHER},
            "temp is above all known hours of this time of year: is it in °C?": temp > hottest,
            "temp is below all known hours of this time of year: is it in °C, not on UCI's scale of 0 to 1?": temp
            < coldest,
            "temp is from 0 to 1: is it in °C, not on UCI's scale of 0 to 1?": (
                hours["temp"].between(0, 1) & (when.map(self._temp) != hours["temp"])
            ),
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

    def _odd(self, hours: pd.DataFrame) -> pd.Series:
        """Return whether atemp - temp is outside the known differences at temperatures of the same bin and its neighbours."""
        difference = hours["atemp"] - hours["temp"]
        bins = (hours["temp"] // BIN).clip(self._felt.index.min(), self._felt.index.max())
        near = [self._felt.reindex(bins + step) for step in (-1, 0, 1)]
        low = pd.concat([one["min"].reset_index(drop=True) for one in near], axis=1).min(axis=1)
        high = pd.concat([one["max"].reset_index(drop=True) for one in near], axis=1).max(axis=1)
        odd: pd.Series = (difference.reset_index(drop=True) < low - 1) | (difference.reset_index(drop=True) > high + 1)
        return odd

    def _dates(self, hours: pd.DataFrame) -> dict[str, pd.Series]:
        """Return which hours have another holiday or season than their date, by the words for them."""
        when, holiday, date = hours["datetime"], hours["holiday"], hours["datetime"].dt.normalize()
        recorded = date.map(self._flags)
        same = recorded.notna() & (recorded == holiday)
        other = holidays.others(date, holiday) & ~same
        named = pd.Series(holidays.names(date), hours.index, dtype=object)
        quarter = when.dt.quarter
        # Kaggle's seasons change on about the 21st of the quarter's last month.
        turning = (when.dt.month % 3 == 0) & (when.dt.day >= 19) & (hours["season"] == quarter % 4 + 1)
        used = "as a day without work" if self._calendar else "as sent"
        kept = "for the holiday" if self._calendar else "as sent"
        ignored = "by its date" if self._calendar else "as sent"
        tests = {
            f"holiday is 1 on a day that is no US federal holiday: it is answered {used}": other,
            f"season is not that of the date, 1 from about 21 December to 20 March: it is answered {ignored}": (
                (hours["season"] != quarter) & ~turning
            ),
        }
        for name in named.dropna().unique():
            tests[f"holiday is 0 on {name}: it is answered {kept}"] = (named == name) & (holiday == 0) & ~same
        return tests

    def _outside(self, name: str, values: pd.Series) -> pd.Series:
        low, high = self.trained[name]
        return (values < low) | (values > high)

    def _words(self, name: str) -> str:
        low, high = self.trained[name]
        span = f"{low:g} to {high:g} {COLUMNS[name].unit}".rstrip()
        return f"{name} is outside the training data's {span}: the answer is that of the nearest value in it"


def _scaled(temp: float) -> str:
    """Return the likely mistake of a temperature that is too low, as the end of a sentence."""
    return f": if it is on UCI's scale of 0 to 1, multiply it by 41 to get {temp * 41:.1f} °C" if 0 <= temp <= 1 else ""


def _near(by_month: pd.Series, extreme: str) -> pd.Series:
    """Return the extreme of each month and its neighbours, by month, 1 to 12. Months without any get that of all months."""
    months = [by_month.reindex([(month + step - 1) % 12 + 1 for month in range(1, 13)]) for step in (-1, 0, 1)]
    near = pd.DataFrame([month.to_numpy() for month in months], columns=range(1, 13)).agg(extreme)
    return near.fillna(by_month.agg(extreme))
