"""What a model knows of each column: which hours it refuses, and which it answers with a warning.

`columns` has what no hour can have. This module has what the town never had.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from stages.bikes.hours.columns import COLUMNS, FORMAT, CellError

TOO_HOT = 15
"""°C above all known temperatures of the time of year, from which on an hour is refused: a winter's day in Fahrenheit."""

WEATHER = ["temp", "atemp", "humidity", "windspeed"]


@dataclass(frozen=True)
class Warned:
    """A warning and the hours that it is about, a mask of the rows asked."""

    words: str
    rows: np.ndarray


def ranges(training: pd.DataFrame) -> dict[str, list[float]]:
    """Return the lowest and the highest value of each number in the training hours."""
    return {name: [float(training[name].min()), float(training[name].max())] for name in WEATHER}


class Plausible:
    """What is usual in the record ``known``, and in the training hours, whose ``trained`` ranges `ranges` gave."""

    def __init__(self, known: pd.DataFrame, trained: dict[str, list[float]]) -> None:
        self._first, self._last = known["datetime"].min(), known["datetime"].max()
        self._trained = trained
        temps = known.groupby(known["datetime"].dt.month)["temp"].agg(["min", "max"]).reindex(range(1, 13))
        # With the months before and after. Months far from all known hours get the range of all.
        near = pd.concat(
            [temps.shift(step).fillna(temps.shift(step - 12 * np.sign(step))) for step in (-1, 1)] + [temps]
        )
        by_month = near.groupby(level=0).agg({"min": "min", "max": "max"})
        self._coldest = by_month["min"].fillna(temps["min"].min())
        self._hottest = by_month["max"].fillna(temps["max"].max())

    def check(self, hours: pd.DataFrame) -> list[Warned]:
        """Return the warnings for ``hours``. Raise CellError for the first hour whose temperature can't be in °C."""
        temp, month = hours["temp"].to_numpy(), hours["datetime"].dt.month
        coldest, hottest = self._coldest.loc[month].to_numpy(), self._hottest.loc[month].to_numpy()
        hot = temp > hottest + TOO_HOT
        if hot.any():
            row = int(hot.argmax())
            celsius = (temp[row] - 32) / 1.8
            expected = (
                f"at most {hottest[row] + TOO_HOT:g} °C: the highest temperature known of this time of year is {hottest[row]:g} °C. "
                f"{temp[row]:g} degrees Fahrenheit are {celsius:.1f} °C"
            )
            raise CellError(row, "temp", f"{temp[row]:g} on {hours['datetime'][row]:%Y-%m-%d}", expected)
        when, wind = hours["datetime"], hours["windspeed"]
        warned = [
            Warned(
                f"the hour is later than all known hours (to {self._last:{FORMAT}}): demand is taken not to grow after the "
                "training period",
                (when > self._last).to_numpy(),
            ),
            Warned(
                f"the hour is earlier than all known hours (from {self._first:{FORMAT}}): demand is taken not to grow before "
                "the training period",
                (when < self._first).to_numpy(),
            ),
            *(self._outside(name, hours[name]) for name in WEATHER),
            Warned("temp is higher than ever at this time of year: is it in °C?", temp > hottest),
            Warned(
                "temp is lower than ever at this time of year: is it in °C, not on UCI's scale of 0 to 1?",
                temp < coldest,
            ),
            Warned(
                "windspeed is below 1: is it in km/h, not on UCI's scale of 0 to 1?",
                ((wind > 0) & (wind < 1)).to_numpy(),
            ),
        ]
        return [one for one in warned if one.rows.any()]

    def _outside(self, name: str, values: pd.Series) -> Warned:
        low, high = self._trained[name]
        words = (
            f"{name} is outside the training data's {low:g} to {high:g} {COLUMNS[name].unit}: "
            "the answer is that of the nearest value in it"
        )
        return Warned(words, ((values < low) | (values > high)).to_numpy())
