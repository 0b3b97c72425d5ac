"""The embedded sample: nine months of a simulated town, in Kaggle's columns and files, with the answers to the test hours.

Weather comes in spells and follows the season and the time of day. Two kinds of riders react to it: registered riders
commute on working days, casual riders come on mild free afternoons. Their number grows over the months and varies from
day to day for reasons that no column shows. Hourly counts are Poisson distributed. As in the real data, an hour without
riders has no row. docs/your-data.md describes how the sample differs from the real data. Scores on the sample do not
predict scores on the real data.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray
from pandas.tseries.holiday import USFederalHolidayCalendar

from stages.bikes.sources import official

Floats = NDArray[np.float64]

FIRST, LAST = "2011-07-01 00:00", "2012-03-31 23:00"
SEED = 2011
GROWTH = 0.5  # yearly growth of the logarithm of registered riders

WIND = np.array([0, 6.0032, 7.0015, 8.9981, 11.0014, 12.998, 15.0013, 16.9979, 19.0012, 22.0028, 26.0027, 30.0026])
TEMPERATURE_STEP, FELT_STEP = 0.82, 0.7576  # degrees Celsius, as in the real data

# Riders per hour on a fine day at 20 degrees, midnight to 11 p.m.
COMMUTERS = np.array(
    [8, 3, 2, 1, 2, 12, 50, 140, 230, 110, 60, 70, 90, 90, 80, 100, 180, 330, 300, 200, 130, 90, 60, 30], float
)
FREE_DAY = np.array(
    [40, 30, 22, 9, 4, 4, 9, 20, 50, 85, 115, 135, 155, 155, 145, 145, 140, 135, 120, 95, 70, 60, 50, 35], float
)
CASUAL = np.array([7, 5, 4, 2, 1, 1, 2, 5, 12, 22, 38, 52, 62, 68, 70, 70, 66, 56, 44, 32, 24, 18, 14, 10], float)


def write(folder: Path) -> None:
    """Fill ``folder`` with train.csv, test.csv, sampleSubmission.csv and test_answers.csv."""
    hours = simulate(np.random.default_rng(SEED))
    official.write(hours[hours["count"] > 0], folder)


def simulate(random: Generator) -> pd.DataFrame:
    """Return all hours from FIRST to LAST, in Kaggle's columns. count may be 0."""
    hours = _calendar(pd.Series(pd.date_range(FIRST, LAST, freq="h"), name="datetime"))
    hours = pd.concat([hours, _weather(hours["datetime"], random)], axis=1)
    casual, registered = (random.poisson(riders) for riders in _demand(hours, random))
    return hours.assign(casual=casual, registered=registered, count=casual + registered)


def _calendar(when: pd.Series) -> pd.DataFrame:
    date = when.dt.normalize()
    holiday = date.isin(USFederalHolidayCalendar().holidays(date.min(), date.max()))
    free = holiday | (when.dt.weekday >= 5)
    turned = when.dt.month * 100 + when.dt.day  # seasons begin on about the 21st
    season = np.select([turned < 321, turned < 621, turned < 923, turned < 1221], [1, 2, 3, 4], 1)
    return pd.DataFrame(
        {"datetime": when, "season": season, "holiday": holiday.astype(int), "workingday": (~free).astype(int)}
    )


def _weather(when: pd.Series, random: Generator) -> pd.DataFrame:
    size, hour = len(when), when.dt.hour.to_numpy()
    year = 2 * np.pi * (when.dt.dayofyear.to_numpy() - 200) / 365.25  # warmest in mid July
    front = _memory(random, size, hours=60)
    wet = _memory(random, size, hours=9) + 0.5 * front
    weather = np.select([wet < 0.5, wet < 1.45, wet < 3.6], [1, 2, 3], 4)
    day = np.cos(2 * np.pi * (hour - 15) / 24)
    temp = 14.5 + 12 * np.cos(year) - 3.5 * front + (4 - weather) * 1.2 * day + 0.5 * _memory(random, size, hours=4)
    temp = (temp.clip(-8, 40) / TEMPERATURE_STEP).round() * TEMPERATURE_STEP
    humidity = (58 + 14 * wet - 14 * day + 5 * _memory(random, size, hours=6)).clip(16, 100).round().astype(int)
    gusts = 12 + 6 * _memory(random, size, hours=12) + 2.5 * day
    windspeed = WIND[np.abs(gusts[:, None] - WIND).argmin(1)]
    cold = 1 / (1 + np.exp((temp - 12) / 4))
    felt = temp + 3 + 0.06 * (humidity - 50) * (1 - cold) - 0.25 * windspeed * cold
    return pd.DataFrame(
        {
            "weather": weather,
            "temp": temp.round(2),
            "atemp": ((felt / FELT_STEP).round() * FELT_STEP).round(3),
            "humidity": humidity,
            "windspeed": windspeed,
        }
    )


def _demand(hours: pd.DataFrame, random: Generator) -> tuple[Floats, Floats]:
    """Return the expected casual and registered riders of each hour."""
    when, hour = hours["datetime"], hours["datetime"].dt.hour.to_numpy()
    temp, weather = hours["temp"].to_numpy(), hours["weather"].to_numpy()
    away = ((when.dt.month == 12) & (when.dt.day >= 24)).to_numpy()  # the last week of the year
    commuting = np.where(hours["workingday"] == 1, np.where(away, 0.5, 1.0), 0.0)
    growth = GROWTH * (when - when[0]).dt.days.to_numpy() / 365.25
    comfort = -(((temp - 25) / 16) ** 2)
    rain = np.select([weather >= 3, weather == 2], [-1.0, -0.06], 0.0)
    # Rain in the previous hours still reduces demand.
    after_rain = -0.35 * pd.Series(weather >= 3).rolling(3, min_periods=1).mean().to_numpy()
    humid = -0.004 * (hours["humidity"].to_numpy() - 60)
    mood = np.repeat(random.normal(0, 0.08, len(when) // 24), 24) + 0.1 * _memory(random, len(when), hours=3)
    common = growth + after_rain + humid + mood - 0.25 * away
    registered = commuting * COMMUTERS[hour] + (1 - commuting) * FREE_DAY[hour]
    casual = CASUAL[hour] * (1.0 + 1.9 * (1 - commuting))
    return (
        casual * np.exp(common + 1.3 * comfort + 1.2 * rain - 0.25 * growth),
        registered * np.exp(common + 0.5 * comfort + 0.8 * rain),
    )


def _memory(random: Generator, size: int, hours: float) -> Floats:
    """Return autocorrelated noise of standard deviation 1. Its correlation falls to 1/e in ``hours``."""
    keep = np.exp(-1 / hours)
    steps = random.normal(0, np.sqrt(1 - keep**2), size)
    values = np.empty(size)
    value = 0.0
    for index, step in enumerate(steps):
        value = keep * value + step
        values[index] = value
    return values
