"""bikes: what a model may know of an hour, and which days are held out."""

import numpy as np
import pandas as pd
import pytest

from stages.bikes.features import Record
from stages.bikes.featurize import split
from stages.bikes.hours import holidays
from stages.bikes.hours.columns import NAMES
from stages.bikes.hours.plausible import ranges
from stages.bikes.sources import sample


@pytest.fixture(scope="module")
def hours() -> pd.DataFrame:
    simulated = sample.simulate(np.random.default_rng(0))
    return simulated[simulated["count"] > 0].reset_index(drop=True)


@pytest.fixture(scope="module")
def known(hours: pd.DataFrame) -> pd.DataFrame:
    return hours[NAMES]


def recorded(known: pd.DataFrame, kind: str = "full") -> Record:
    return Record(kind, known, ranges(known))


@pytest.fixture(scope="module")
def record(known: pd.DataFrame) -> Record:
    return recorded(known)


@pytest.fixture(scope="module")
def table(record: Record, known: pd.DataFrame) -> pd.DataFrame:
    return record.features(known)


@pytest.mark.parametrize("kind", ["raw", "calendar", "full"])
def test_a_row_has_the_same_features_alone_and_among_others(kind: str, known: pd.DataFrame) -> None:
    record = recorded(known, kind)
    together = record.features(known)
    for row in (0, 1234, len(known) - 1):
        alone = record.features(known.iloc[[row]])
        pd.testing.assert_frame_equal(alone, together.iloc[[row]].reset_index(drop=True))


def future(known: pd.DataFrame, days: int = 400) -> pd.DataFrame:
    """The first weeks of the data again, later."""
    rows = known.head(24 * 14)
    return rows.assign(datetime=rows["datetime"] + pd.Timedelta(days=days)).reset_index(drop=True)


@pytest.mark.parametrize(
    "every", [slice(8, 9), slice(7, 19), slice(None, None, 3), slice(None, 1), slice(None, None, -1)]
)
def test_hours_of_the_future_do_not_change_each_other(record: Record, known: pd.DataFrame, every: slice) -> None:
    asked = future(known)
    together, part = record.features(asked), record.features(asked.iloc[every])
    np.testing.assert_allclose(part, together.iloc[every], rtol=1e-12, atol=1e-12)


def test_the_weather_around_an_hour_of_the_future_is_estimated_from_its_own(
    record: Record, known: pd.DataFrame
) -> None:
    """Its error is well below that of a guess that is the same for all hours of a month."""
    around = record.features(known)
    alone = record.features(known, alone=True)
    month = known["datetime"].dt.month
    for name in ("day_temp", "temp_24h", "humidity_24h", "rain_next_3h", "weather_1h_ago"):
        typical = around.groupby(month)[name].transform("mean")
        assert ((alone[name] - around[name]) ** 2).mean() < 0.7 * ((typical - around[name]) ** 2).mean(), name
    assert alone["missing_5h"].max() < 3, "hours that were not asked are not closed hours"


def test_a_humidity_of_0_is_taken_as_that_of_the_weather(known: pd.DataFrame, table: pd.DataFrame) -> None:
    """In the record and in a request. Without that, a fault of the sensor would be the driest day."""
    fault = known["datetime"].dt.date == pd.Timestamp("2011-09-06").date()
    faulty = known.assign(humidity=known["humidity"].where(~fault, 0))
    usual = known[~fault].groupby("weather")["humidity"].median()
    record = recorded(faulty)
    found = record.features(faulty)
    expected = known.loc[fault, "weather"].map(usual).round()
    np.testing.assert_allclose(found.loc[fault, "humidity"], expected, atol=1)
    assert found["day_humidity"].min() > 0.8 * table["day_humidity"].min()
    later = future(known)
    values = 0, later["weather"].map(usual)
    dry, right = (record.features(later.assign(humidity=value))["humidity"] for value in values)
    np.testing.assert_allclose(dry, right, atol=1)


def test_no_feature_is_a_count_or_missing(known: pd.DataFrame, table: pd.DataFrame) -> None:
    assert not {"casual", "registered", "count"} & set(table)
    assert np.isfinite(table.astype(float)).all(axis=None)
    assert list(recorded(known, "raw").features(known)) == NAMES
    calendar = recorded(known, "calendar").features(known)
    assert set(calendar.select_dtypes("category")) == {"weather", "season"}
    assert {"hour", "weekday", "month", "year"} <= set(calendar)


@pytest.mark.parametrize(
    ("date", "off", "pattern", "what"),
    [
        ("2011-11-23", 0.0, 2, "the day before Thanksgiving is a working day"),
        ("2011-11-24", 1.0, 5, "Thanksgiving is free, with a free day after it: like a Saturday"),
        ("2011-11-25", 1.0, 5, "and so is the day after it"),
        ("2012-11-23", 1.0, 5, "in the other year, too"),
        ("2012-12-24", 1.0, 5, "Christmas Eve, a Monday"),
        ("2012-12-25", 1.0, 6, "Christmas: the last free day in a row is like a Sunday"),
        ("2011-12-26", 1.0, 6, "the Monday on which Christmas is observed"),
        ("2012-12-27", 0.5, 7, "between the years part of the town works"),
        ("2012-12-29", 1.0, 5, "a Saturday stays one"),
        ("2012-12-31", 1.0, 5, "New Year's Eve"),
        ("2012-01-02", 1.0, 6, "New Year observed"),
        ("2011-04-15", 0.0, 4, "Emancipation Day: commuters ride as ever"),
        ("2012-05-28", 1.0, 6, "Memorial Day"),
        ("2012-02-20", 0.5, 7, "Presidents' Day"),
        ("2012-07-04", 1.0, 6, "Independence Day, a Wednesday"),
    ],
)
def test_days_are_taken_as_what_they_are(date: str, off: float, pattern: int, what: str) -> None:
    day = holidays.days(pd.Timestamp(date), pd.Timestamp(date)).iloc[0]
    assert (day["off"], day["pattern"]) == (off, pattern), what


@pytest.mark.parametrize(
    ("date", "holiday", "off", "pattern"),
    [
        ("2013-03-06", 1, 1.0, 6),  # a holiday that the calendar doesn't know, a Wednesday
        ("2013-03-08", 1, 1.0, 5),  # and a Friday: a free day follows
        ("2013-12-27", 1, 1.0, 5),
        ("2013-03-06", 0, 0.0, 2),
        ("2013-07-04", 0, 1.0, 6),  # the calendar knows better
        ("2013-04-16", 1, 0.0, 1),  # Emancipation Day
        ("2022-06-20", 1, 0.5, 7),  # Juneteenth, observed on a Monday
    ],
)
def test_a_holiday_that_only_the_row_knows_is_a_day_without_work(
    record: Record, known: pd.DataFrame, date: str, holiday: int, off: float, pattern: int
) -> None:
    row = known.iloc[[500]].assign(datetime=pd.Timestamp(date) + pd.Timedelta(hours=8), holiday=holiday)
    found = record.features(row).iloc[0]
    assert (found["off"], found["pattern"], found["works"]) == (off, pattern, int(off == 0))


@pytest.mark.parametrize("kind", ["raw", "calendar", "full"])
def test_weather_outside_the_training_hours_counts_as_the_nearest_in_them(kind: str, known: pd.DataFrame) -> None:
    """In all features, also if the outer value is in the record."""
    limits = {name: known[name].quantile([0.1, 0.9]).tolist() for name in ("temp", "atemp", "humidity", "windspeed")}
    record = Record(kind, known, limits)
    rows = pd.concat([known.iloc[::50], future(known).iloc[::20]], ignore_index=True)
    for name, (_, high) in limits.items():
        outside, edge = rows.assign(**{name: 2.0 * high}), rows.assign(**{name: high})
        pd.testing.assert_frame_equal(record.features(outside), record.features(edge), check_dtype=False)


def test_the_weather_around_counts_and_moves_with_an_hour_that_differs_from_the_record(
    known: pd.DataFrame, record: Record, table: pd.DataFrame
) -> None:
    row = known.iloc[[500]]
    rainy = recorded(known.assign(weather=known["weather"].mask(known.index == 499, 4)))
    changed = rainy.features(row)
    assert changed["weather_1h_ago"].iloc[0] == 4
    assert changed["day_rain_hours"].iloc[0] >= table["day_rain_hours"].iloc[500]
    warmer = record.features(row.assign(temp=row["temp"] + 5, atemp=row["atemp"] + 5))
    assert 3 < warmer["day_temp"].iloc[0] - table["day_temp"].iloc[500] < 6


def test_hours_without_a_row_are_counted_within_a_day_of_the_record_alone(
    known: pd.DataFrame, table: pd.DataFrame
) -> None:
    day, hour = known["datetime"].dt.normalize(), known["datetime"].dt.hour
    out = (day == "2011-08-10") & hour.between(10, 15) | (day == "2011-08-20") | (day == day.max()) & (hour > 12)
    gap = known[~out].reset_index(drop=True)
    found = recorded(gap).features(gap).set_index(pd.DatetimeIndex(gap["datetime"]))
    full = table[(known["datetime"] == "2011-08-10 16:00:00").to_numpy()].iloc[0]
    assert found.loc["2011-08-10 16:00:00", "day_missing_hours"] == full["day_missing_hours"] + 6
    assert found.loc["2011-08-10 16:00:00", "missing_5h"] == 2
    assert found.loc["2011-08-21 00:00:00", "missing_5h"] == 0, "a day without rows is unknown"
    assert found.loc[f"{day.max():%Y-%m-%d} 12:00:00", "missing_5h"] == 0, "so are the hours after the last row"


def test_validation_is_whole_days_at_the_end_of_each_months_training_days(hours: pd.DataFrame) -> None:
    labelled = hours[hours["datetime"].dt.day <= 19]
    part = split(labelled, 4)
    assert set(labelled["datetime"].dt.day[part == "valid"]) == {16, 17, 18, 19}
    assert set(labelled["datetime"].dt.day[part == "train"]) == set(range(1, 16))
