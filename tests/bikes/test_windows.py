"""The estimate of bikes' test score from held-out training days."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_bikes import set_parameters

from benchmarks import bikes_training, bikes_windows
from stages.bikes import prepare

SHARES = [0.1, 0.1, 0.3, 0.5]


def hours(*dates: str, weather: int = 1) -> pd.DataFrame:
    when = [pd.date_range(date, periods=24, freq="h") for date in dates]
    return pd.DataFrame({"datetime": np.concatenate(when), "weather": weather})


def test_each_training_day_is_held_out_once_with_the_same_days_of_the_other_year() -> None:
    days = pd.Series(pd.date_range("2011-01-01", "2012-12-31"))
    days = days[days.dt.day <= 19].reset_index(drop=True)
    number = pd.Series(bikes_windows.window(days))
    assert sorted(number.unique()) == list(range(bikes_windows.WINDOWS))
    assert (number.groupby([days.dt.month, days.dt.day]).nunique() == 1).all()
    assert number.value_counts().between(9 * 8, 10 * 8).all()
    in_a_row = days.groupby([number, days.dt.to_period("M")]).agg(["min", "max", "size"])
    assert ((in_a_row["max"] - in_a_row["min"]).dt.days + 1 == in_a_row["size"]).all()


def test_a_day_is_of_its_most_special_kind() -> None:
    special = [hours("2012-12-25", "2011-11-24", weather=3), hours("2012-10-29").head(5)]
    usual = [hours("2012-05-01", weather=3), hours("2012-05-05", "2012-07-04"), hours("2012-05-02")]
    table = pd.concat([*special, *usual], ignore_index=True)
    kinds = bikes_windows.kind(table).groupby(table["datetime"].dt.normalize()).unique().map(list)
    expected = {"2012-12-25": 0, "2011-11-24": 0, "2012-10-29": 1, "2012-05-01": 1, "2012-05-05": 2, "2012-07-04": 2}
    assert kinds.to_dict() == {pd.Timestamp(date): [place] for date, place in (expected | {"2012-05-02": 3}).items()}


def test_the_estimate_weighs_kinds_of_days_as_the_test_has_them() -> None:
    table = hours("2012-01-02", "2012-05-02").assign(count=100)
    wrong = np.where(table["datetime"].dt.month == 1, np.expm1(np.log1p(100) + 1), 100)
    found = bikes_windows.summary(table.assign(forecast=wrong, low=90.0, high=110.0), SHARES)
    assert found["rmsle_by_kind"] == {bikes_windows.KINDS[0]: 1.0, bikes_windows.KINDS[3]: 0.0}
    assert found["rmsle"] == round(0.5**0.5, 4)
    assert found["estimate"] == round((0.1 / 0.6) ** 0.5, 4)
    assert found["coverage"] == 1


def test_the_riders_of_held_out_days_change_no_forecast(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    set_parameters(tmp_path, models=["linear"])
    raw = prepared / prepare.RAW
    known, test = (pd.read_parquet(raw / f"{part}.parquet") for part in ("train", "test"))
    prepare.RAW.mkdir(parents=True)
    (prepare.RAW / "about.json").write_text((raw / "about.json").read_text())
    found = bikes_windows.forecasts(known, test, 1)
    assert set(found["datetime"].dt.day) == set(range(10, 20))
    assert (found["low"] <= found["forecast"]).all()
    inside = bikes_windows.window(known["datetime"]) == 1
    for name in ("casual", "registered", "count"):
        known.loc[inside, name] = 1
    again = bikes_windows.forecasts(known, test, 1)
    np.testing.assert_array_equal(again["forecast"], found["forecast"])


def test_autogluon_gets_the_same_hours_and_the_seconds_that_ours_took(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[tuple[pd.DataFrame, dict[str, Any]]] = []

    class Predictor:
        def __init__(self, *_: object, **__: object) -> None: ...

        def fit(self, table: pd.DataFrame, **options: Any) -> None:
            fitted.append((table, options))

        def predict(self, hours: pd.DataFrame, **_: object) -> np.ndarray:
            return np.zeros(len(hours))

    monkeypatch.chdir(tmp_path)
    set_parameters(tmp_path, models=["linear"])
    monkeypatch.setattr(bikes_training, "TabularPredictor", Predictor)
    monkeypatch.setattr(prepare, "main", lambda: shutil.copytree(prepared / prepare.RAW, prepare.RAW))
    ways = ["AutoGluon, raw", "AutoGluon, calendar, best_quality, log1p"]
    found = bikes_training.measure([], 1, ways)
    assert [options["presets"] for _, options in fitted] == [None, "best_quality"]
    assert len({options["time_limit"] for _, options in fitted}) == 1
    (raw, _), (calendar, _) = fitted
    known = pd.read_parquet(prepared / prepare.RAW / "train.parquet")
    outside = known[bikes_windows.window(known["datetime"]) != 0]
    assert len(raw) == len(calendar) == len(outside)
    assert sorted(raw["count"]) == sorted(outside["count"])
    assert "hour" in calendar.columns
    assert not {"casual", "registered"} & {*raw.columns, *calendar.columns}
    # Nobody was forecast.
    inside = known[bikes_windows.window(known["datetime"]) == 0]
    nobody = round(float(np.sqrt((np.log1p(inside["count"]) ** 2).mean())), 4)
    assert {found["contestants"][way]["rmsle"] for way in ways} == {nobody}
    assert found["contestants"]["ours"]["rmsle"] < nobody
