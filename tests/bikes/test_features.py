"""bikes: what a model may know of an hour, and which days are held out."""

import numpy as np
import pandas as pd
import pytest

from stages.bikes import features
from stages.bikes.featurize import split
from stages.bikes.sources import sample


@pytest.fixture(scope="module")
def hours() -> pd.DataFrame:
    simulated = sample.simulate(np.random.default_rng(0))
    return simulated[simulated["count"] > 0].reset_index(drop=True)


@pytest.fixture(scope="module")
def known(hours: pd.DataFrame) -> pd.DataFrame:
    return hours[features.KAGGLE]


@pytest.mark.parametrize("kind", ["raw", "calendar", "full"])
def test_a_row_has_the_same_features_alone_and_among_others(kind: str, known: pd.DataFrame) -> None:
    together = features.build(kind, known, known)
    for row in (0, 1234, len(known) - 1):
        alone = features.build(kind, known.iloc[[row]], known)
        pd.testing.assert_frame_equal(alone, together.iloc[[row]].reset_index(drop=True), check_dtype=False)


def test_no_feature_is_a_count_or_missing(known: pd.DataFrame) -> None:
    table = features.build("full", known, known)
    assert not {"casual", "registered", "count"} & set(table)
    assert np.isfinite(table.astype(float)).all(axis=None)
    assert list(features.build("raw", known, known)) == features.KAGGLE


def test_the_calendar_features_have_season_and_weather_as_categories(known: pd.DataFrame) -> None:
    table = features.build("calendar", known, known)
    assert {name for name in table if isinstance(table[name].dtype, pd.CategoricalDtype)} == {"weather", "season"}
    assert {"hour", "weekday", "month", "year"} <= set(table)


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
    day = features.days(pd.Timestamp(date), pd.Timestamp(date)).iloc[0]
    assert (day["off"], day["pattern"]) == (off, pattern), what


def test_the_weather_around_counts(known: pd.DataFrame) -> None:
    table = features.build("full", known, known)
    row = 500
    rainy = known.iloc[[row - 1]].assign(weather=4)
    changed = features.build("full", known.iloc[[row]], pd.concat([known.drop(index=row - 1), rainy]))
    assert changed["weather_1h_ago"].iloc[0] == 4
    assert changed["day_rain_hours"].iloc[0] >= table["day_rain_hours"].iloc[row]


def test_hours_without_a_row_are_counted(known: pd.DataFrame) -> None:
    day = known["datetime"].dt.normalize() == "2011-08-10"
    gap = known[~(day & known["datetime"].dt.hour.between(10, 15))]
    table = features.build("full", gap, gap)
    at = (gap["datetime"] == "2011-08-10 16:00:00").to_numpy()
    full = features.build("full", known, known)[(known["datetime"] == "2011-08-10 16:00:00").to_numpy()]
    assert table[at]["day_missing_hours"].iloc[0] == full["day_missing_hours"].iloc[0] + 6
    assert table[at]["missing_5h"].iloc[0] == 2


def test_validation_is_whole_days_at_the_end_of_each_months_training_days(hours: pd.DataFrame) -> None:
    labelled = hours[hours["datetime"].dt.day <= 19]
    part = split(labelled, 4)
    assert set(labelled["datetime"].dt.day[part == "valid"]) == {16, 17, 18, 19}
    assert set(labelled["datetime"].dt.day[part == "train"]) == set(range(1, 16))
