"""Features of an hour: Kaggle's own columns, the calendar, and the weather of the nearby hours and days.

All features come from the date and the weather, none from the counts. So a row's features are the same in training,
evaluation and serving. They do not depend on the other rows of a request: besides the row itself only the record is
used, all hours whose weather is known (Kaggle publishes the weather of the test hours, too).
"""

import numpy as np
import pandas as pd

from stages.bikes.hours.columns import NAMES, WEATHER
from stages.bikes.hours.holidays import SATURDAY, SUNDAY, days, others

FIRST_DAY = pd.Timestamp("2011-01-01")
"""First day of the data. The growth of demand is measured in days since then."""

WET = 2.5  # weather: 1 clear, 2 mist or cloud, 3 light rain or snow, 4 heavy rain, snow or fog


class Record:
    """All hours whose weather is known, and the features of any hour.

    An hour's features come from its own row and from this record, never from the other hours of a request. Around an
    hour in the record, the weather is the recorded one; if the hour's own weather differs from the record, it moves with it.
    Around any other hour the weather is unknown, and its expected value is used: a regression on the hour's own weather,
    time of day and time of year, fitted to the record.

    Weather outside the training hours counts as the nearest value in them, in all features that depend on it.
    """

    def __init__(self, kind: str, known: pd.DataFrame, ranges: dict[str, list[float]]) -> None:
        """``kind``: raw, calendar or full.

        ``known`` has Kaggle's columns (temp and atemp in degrees Celsius, humidity in %, windspeed in km/h). ``ranges``
        has the lowest and the highest value of each column of `WEATHER` in the training hours.
        """
        self.kind, self.known = kind, known[NAMES].sort_values("datetime", ignore_index=True)
        self._ranges = ranges
        if kind == "full":
            measured = known[known["humidity"] > 0].groupby("weather")["humidity"].median()
            self._usual_humidity = measured.reindex(range(1, 5)).interpolate(limit_direction="both").fillna(0).round()
            repaired = self._repaired(self.known)
            self._weather, self._around = _surroundings(repaired)
            inputs = self._held(repaired)
            self._low, self._high = self._around.min().to_numpy(), self._around.max().to_numpy()
            around = self._around.loc[inputs["datetime"]].to_numpy()
            self._expected = np.linalg.lstsq(_inputs(inputs), around, rcond=None)[0]

    def has(self, hours: pd.DataFrame) -> np.ndarray:
        """Return for each row whether it is in the record with the same values, a mask."""
        numbers = dict.fromkeys(NAMES[1:], float)
        known = self.known.astype(numbers).assign(_known=True)
        return np.asarray(hours[NAMES].astype(numbers).merge(known, "left", on=NAMES)["_known"].notna())

    def features(self, hours: pd.DataFrame, alone: bool = False) -> pd.DataFrame:
        """Return one row of features for each row of ``hours``, in the same order.

        ``alone``: take all hours as if they were not in the record.
        """
        hours = hours[NAMES].reset_index(drop=True)
        if self.kind == "raw":
            return self._held(hours)
        if self.kind == "calendar":
            return _calendar(self._held(hours))
        hours = self._held(self._repaired(hours))
        when = hours["datetime"]
        calendar, around = _kind_of_day(when, hours["holiday"]), self._weather_around(hours, alone)
        return pd.concat([_time(hours), calendar, hours[WEATHER], around, _own(hours)], axis=1)

    def _weather_around(self, hours: pd.DataFrame, alone: bool) -> pd.DataFrame:
        place = self._around.index.get_indexer(pd.DatetimeIndex(hours["datetime"]))
        inside = (place >= 0) & (not alone)
        recorded = self._held(self._weather.iloc[place[inside]].reset_index(names="datetime"))
        inputs = _inputs(hours)
        # For an unchanged row the difference is exactly 0, so its features are exactly the recorded ones.
        inputs[inside] -= _inputs(recorded)
        around = inputs @ self._expected
        around[inside] += self._around.to_numpy()[place[inside]]
        return pd.DataFrame(around.clip(self._low, self._high), columns=self._around.columns)

    def _repaired(self, hours: pd.DataFrame) -> pd.DataFrame:
        """Return ``hours`` with the usual humidity of the kind of weather where it is 0, which is a sensor's fault.

        On Kaggle's 10 March 2011, a day of rain, it is 0 in all hours.
        """
        humidity = hours["humidity"]
        usual = hours["weather"].map(self._usual_humidity).astype(humidity.dtype)
        return hours.assign(humidity=humidity.where(humidity > 0, usual))

    def _held(self, hours: pd.DataFrame) -> pd.DataFrame:
        """Return ``hours`` with the weather held within the training hours' ranges. The types stay."""
        within = self._ranges.items()
        return hours.assign(**{name: hours[name].clip(*ends).astype(hours[name].dtype) for name, ends in within})


def _inputs(hours: pd.DataFrame) -> np.ndarray:
    """Return float64 (rows, inputs): time of day and year, the hour's weather, and how its effect varies over the day."""
    hour, day = hours["datetime"].dt.hour.to_numpy(), hours["datetime"].dt.dayofyear.to_numpy()
    year = np.column_stack([wave(k * 2 * np.pi * day / 365.25) for k in (1, 2) for wave in (np.sin, np.cos)])
    clock = np.column_stack([wave(2 * np.pi * hour / 24) for wave in (np.sin, np.cos)])
    kind = hours["weather"].to_numpy(float)
    wet = kind > WET
    own = np.column_stack([hours[WEATHER[1:]].to_numpy(float) / 10, wet, (kind > 1.5) & ~wet])
    products = [part[:, :1] * other for part in (clock, clock[:, 1:]) for other in (year, own)]
    return np.column_stack([np.eye(24)[hour], year, own, *products])


def _calendar(hours: pd.DataFrame) -> pd.DataFrame:
    """Return Kaggle's columns with the datetime split into parts, and season and weather as categories."""
    when = hours["datetime"].dt
    parts = {"hour": when.hour, "weekday": when.weekday, "month": when.month, "year": when.year}
    # Categories are text because Parquet returns categories of numbers as plain numbers.
    categories = {name: pd.Categorical(hours[name].astype(str), list("1234")) for name in ("season", "weather")}
    return hours.drop(columns="datetime").assign(**parts, **categories)


def _time(hours: pd.DataFrame) -> pd.DataFrame:
    """Return date and hour as numbers.

    Kaggle's season is not used. It changes on about the 21st, after a month's last training day. So it equals the
    quarter in the training data but not in the test data.
    """
    when = hours["datetime"].dt
    days = (when.normalize() - FIRST_DAY).dt.days
    return pd.DataFrame(
        {
            "hour": when.hour,
            "day": days,
            "day_of_year": when.dayofyear,
            "fortnight": days // 15,
            "fortnight_of_year": when.dayofyear // 15,
            "month": when.month,
            "year": when.year,
            "quarter": when.quarter,
        }
    )


def _kind_of_day(when: pd.Series, holiday: pd.Series) -> pd.DataFrame:
    """Return the kind of each hour's day, by the calendar. Another ``holiday`` of the row is a day without work."""
    date, hour = when.dt.normalize(), when.dt.hour
    table: pd.DataFrame = days(date.min(), date.max()).loc[date].reset_index(drop=True)
    free = others(date, holiday) & (table["off"] < 1).to_numpy()
    table.loc[free, ["off", "works", "short_staffed"]] = 1, 0, 0
    like = np.where(table["off_tomorrow"] == 1, SATURDAY, SUNDAY)[free]
    table.loc[free, ["acts_as", "pattern"]] = np.column_stack([like, like])
    # "8 o'clock on a working day" takes trees many splits, so it is also given as one number.
    table["hour_of_pattern"] = hour + 24 * table["pattern"]
    table["hour_by_off"] = hour + 48 * table["off"].astype(float)
    # Evening hours use the next day's `off`, early hours their own day's.
    table["night_off"] = np.select([hour < 6, hour >= 18], [table["off"], table["off_tomorrow"]], -1.0)
    table["nearest_off"] = np.where(hour < 12, table["off_yesterday"], table["off_tomorrow"])
    return table


def _surroundings(known: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the weather of each hour, and the weather around it and of its day, for all days that have a known hour.

    Hours without a row are interpolated and counted. Kaggle has no row for an hour without riders: a gap in the daytime
    means a snowstorm or a hurricane. A whole day without rows, and hours before the first or after the last row, are
    unknown and not counted.
    """
    by_hour = known.set_index("datetime")[WEATHER].astype(float)
    first, last = known["datetime"].iloc[0], known["datetime"].iloc[-1]
    grid = pd.date_range(first.normalize(), last.normalize() + pd.Timedelta(hours=23), freq="h")
    recorded = grid.normalize().isin(known["datetime"].dt.normalize()) & (grid >= first) & (grid <= last)
    missing = pd.Series(~grid.isin(by_hour.index) & recorded, grid).astype(float)
    w = by_hour.reindex(grid).interpolate(limit_direction="both")
    rain = (w["weather"] > WET).astype(float)
    daylight = (grid.hour >= 7) & (grid.hour <= 20)

    def around(values: pd.Series, width: int) -> pd.Series:
        return values.rolling(width, center=True, min_periods=1).mean()

    near = pd.DataFrame(
        {
            **{f"weather_{k}h_ago": w["weather"].shift(k, fill_value=1) for k in (1, 2, 3)},
            "weather_in_1h": w["weather"].shift(-1, fill_value=1),
            "weather_3h": around(w["weather"], 3),
            "rain_last_6h": rain.rolling(6, min_periods=1).mean(),
            "rain_next_3h": rain[::-1].rolling(3, min_periods=1).mean()[::-1],
            "temp_change_3h": (w["temp"] - w["temp"].shift(3)).fillna(0),
            "temp_24h": around(w["temp"], 24),
            "temp_last_72h": w["temp"].rolling(72, min_periods=1).mean(),
            "temp_15d": around(w["temp"], 24 * 15),
            "humidity_3h": around(w["humidity"], 3),
            "humidity_24h": around(w["humidity"], 24),
            "wind_3h": around(w["windspeed"], 3),
            "wind_24h": around(w["windspeed"], 24),
            "missing_5h": missing.rolling(5, center=True, min_periods=1).sum(),
        }
    )
    day = grid.normalize()
    of_day = pd.DataFrame(
        {
            "day_temp": w["temp"].groupby(day).mean(),
            "day_temp_max": w["temp"].groupby(day).max(),
            "day_temp_min": w["temp"].groupby(day).min(),
            "day_humidity": w["humidity"].groupby(day).mean(),
            "day_wind": w["windspeed"].groupby(day).mean(),
            "day_weather": w["weather"].groupby(day).mean(),
            "day_rain_hours": rain.groupby(day).sum(),
            "daylight_rain_hours": rain[daylight].groupby(day[daylight]).sum(),
            "daylight_weather": w["weather"][daylight].groupby(day[daylight]).mean(),
            "daylight_temp": w["temp"][daylight].groupby(day[daylight]).mean(),
            "day_missing_hours": missing.groupby(day).sum(),
        }
    )
    of_day["yesterday_temp"] = of_day["day_temp"].shift(1).bfill()
    of_day["yesterday_rain_hours"] = of_day["day_rain_hours"].shift(1, fill_value=0)
    of_day["tomorrow_rain_hours"] = of_day["day_rain_hours"].shift(-1, fill_value=0)
    of_day["day_temp_anomaly"] = of_day["day_temp"] - around(of_day["day_temp"], 21)
    table = pd.concat([near, of_day.reindex(day).set_axis(grid)], axis=1).astype(float)
    return w[recorded], table[recorded]


def _own(hours: pd.DataFrame) -> pd.DataFrame:
    """Return what an hour's own weather means for riders."""
    # Magnus: saturation vapour pressure over water in hPa, times the relative humidity.
    saturation = 6.112 * np.exp(17.67 * hours["temp"] / (hours["temp"] + 243.5))
    vapour_pressure = saturation * hours["humidity"] / 100
    return pd.DataFrame({"feels_warmer": hours["atemp"] - hours["temp"], "vapour_pressure": vapour_pressure})
