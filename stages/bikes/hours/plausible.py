"""What a model knows of each column: which hours it refuses, and which it answers with a warning.

`columns` has what no hour can have. This module has what the town never had.
"""

import numpy as np
import pandas as pd

from stages.bikes.hours.columns import COLUMNS, FORMAT, CellError, in_celsius

TOO_HOT = 15
"""°C above all known temperatures of the time of year, from which on an hour is refused: a winter's day in Fahrenheit."""

WEATHER = ["temp", "atemp", "humidity", "windspeed"]


def ranges(training: pd.DataFrame) -> dict[str, list[float]]:
    """Return the lowest and the highest value of each number in the training hours."""
    return {name: [float(training[name].min()), float(training[name].max())] for name in WEATHER}


class Plausible:
    """What is usual in the record ``known``, and in the training hours, whose ``trained`` ranges `ranges` gave."""

    def __init__(self, known: pd.DataFrame, trained: dict[str, list[float]]) -> None:
        self._first, self._last = known["datetime"].min(), known["datetime"].max()
        self._trained = trained
        by_month = known.groupby(known["datetime"].dt.month)["temp"]
        self._coldest, self._hottest = (_near(by_month.min(), "min"), _near(by_month.max(), "max"))

    def check(self, hours: pd.DataFrame) -> list[list[str]]:
        """Return the warnings of each of ``hours``. Raise CellError for the first whose temperature can't be in °C."""
        temp, month = hours["temp"].to_numpy(), hours["datetime"].dt.month
        coldest, hottest = self._coldest.loc[month].to_numpy(), self._hottest.loc[month].to_numpy()
        hot = temp > hottest + TOO_HOT
        if hot.any():
            row = int(hot.argmax())
            found, most = f"{temp[row]:g} on {hours['datetime'][row]:%Y-%m-%d}", f"{hottest[row] + TOO_HOT:g}"
            raise CellError(row, "temp", found, f"at most {most} °C at this time of year{in_celsius(temp[row])}")
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
            "temp and atemp are from 0 to 1: are they in °C, not on UCI's scale of 0 to 1?": (
                hours["temp"].between(0, 1) & hours["atemp"].between(0, 1)
            ),
            "windspeed is below 1: is it in km/h, not on UCI's scale of 0 to 1?": (wind > 0) & (wind < 1),
        }
        warnings: list[list[str]] = [[] for _ in range(len(hours))]
        for words, found in tests.items():
            for place in np.flatnonzero(found):
                warnings[int(place)].append(words)
        return warnings

    def _outside(self, name: str, values: pd.Series) -> pd.Series:
        low, high = self._trained[name]
        return (values < low) | (values > high)

    def _words(self, name: str) -> str:
        low, high = self._trained[name]
        return (
            f"{name} is outside the training data's {low:g} to {high:g} {COLUMNS[name].unit}: "
            "the answer is that of the nearest value in it"
        )


def _near(by_month: pd.Series, extreme: str) -> pd.Series:
    """Return the extreme of each month and its neighbours, by month, 1 to 12. Months without any get that of all months."""
    months = [by_month.reindex([(month + step - 1) % 12 + 1 for month in range(1, 13)]) for step in (-1, 0, 1)]
    near = pd.DataFrame([month.to_numpy() for month in months], columns=range(1, 13)).agg(extreme)
    return near.fillna(by_month.agg(extreme))
