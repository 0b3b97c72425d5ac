"""The hours of bikes' data for the tab: a day with its weather, and the counts of similar days."""

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from pandas._libs import NaTType

from stages.bikes.hours.columns import COLUMNS, FORMAT, NAMES

AS_RECORDED = "as recorded"
WEATHER = {AS_RECORDED: 0} | {name: code for code, name in COLUMNS["weather"].codes.items()}
"""The choices of weather, with Kaggle's number for each. 0 is not Kaggle's: it keeps the recorded weather."""

DRIEST = 5
"""Lowest humidity to choose, %. The model refuses 1 % and less as a mistake of scale."""


@dataclass(frozen=True)
class Weather:
    """A day's weather as the controls show it: the kind, and the means of temp (°C), humidity (%) and windspeed."""

    kind: str
    temp: float
    humidity: float
    windspeed: float


@dataclass(frozen=True)
class Typical:
    """Counts by hour (0 to 23) over ``days`` days: the median, the 10 % and the 90 % quantile, NaN for hours without counts."""

    median: list[float]
    low: list[float]
    high: list[float]
    days: int


class History:
    """All hours with known weather. Those of training and validation days also have counts."""

    def __init__(self, hours: pd.DataFrame) -> None:
        self.hours = hours.assign(date=hours["datetime"].dt.normalize(), hour=hours["datetime"].dt.hour)

    @cached_property
    def months(self) -> list[str]:
        """Months such as `2012-05`, in order."""
        return sorted(self.hours["date"].dt.strftime("%Y-%m").unique())

    def days(self, month: str) -> list[int]:
        """Return the days of ``month`` that have hours."""
        return sorted(self.hours.loc[self.hours["date"].dt.strftime("%Y-%m") == month, "date"].dt.day.unique().tolist())

    def day(self, date: pd.Timestamp | NaTType) -> pd.DataFrame:
        """Return the hours of ``date``, none if there is no such day."""
        return self.hours[self.hours["date"] == date]

    def typical(self, date: pd.Timestamp) -> Typical:
        """Return the typical counts of the other days of the same weekday and month, in all years."""
        known = self.hours[self.hours["count"].notna() & (self.hours["date"] != date)]
        alike = known[(known["date"].dt.dayofweek == date.dayofweek) & (known["date"].dt.month == date.month)]
        shares = alike.groupby("hour")["count"].quantile([0.1, 0.5, 0.9]).unstack().reindex(range(24))
        if alike.empty:
            shares = pd.DataFrame(np.nan, index=range(24), columns=[0.1, 0.5, 0.9])
        return Typical(shares[0.5].tolist(), shares[0.1].tolist(), shares[0.9].tolist(), alike["date"].nunique())


def recorded(day: pd.DataFrame) -> Weather:
    """Return a day's recorded weather, with rounded means."""
    means = day[["temp", "humidity", "windspeed"]].mean().round()
    return Weather(AS_RECORDED, *means.tolist())


def rows(day: pd.DataFrame, weather: Weather) -> list[dict[Hashable, Any]]:
    """Return a request's body: the hours of ``day`` in Kaggle's columns, shifted so that their means are those of ``weather``.

    The course of the day is kept: 4:00 is still cooler than 15:00. The recorded weather changes nothing.
    """
    before = recorded(day)
    table = day[NAMES].copy()
    warmer = weather.temp - before.temp
    for column, change, lowest in (
        ("temp", warmer, None),
        ("atemp", warmer, None),
        ("humidity", weather.humidity - before.humidity, DRIEST),
        ("windspeed", weather.windspeed - before.windspeed, COLUMNS["windspeed"].low),
    ):
        if change:
            table[column] = (table[column] + change).clip(lowest, COLUMNS[column].high)
    if weather.kind != AS_RECORDED:
        table["weather"] = WEATHER[weather.kind]
    table["datetime"] = table["datetime"].dt.strftime(FORMAT)
    records: list[dict[Hashable, Any]] = table.round(4).to_dict("records")
    return records
