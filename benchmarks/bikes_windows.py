"""Estimate bikes' test score from training data alone: days are held out as the test days are, and weighted as they occur there.

    python -m benchmarks.bikes_windows bikes-default bikes-best -S data.bikes.source=../data [--windows 6] [--json FILE]

A window is the days 1 to 9, or the later ones, of every third month in both years. The six windows hold each training day once. For each, a
recipe's stages run on the other training days: the window's hours are test hours, whose weather is known and whose riders
are not. Nothing is chosen on them: ensemble weights and intervals come from validation days outside the window.

The same months of both years are held out together, so a holiday in a window is as new to the models as Thanksgiving and
Christmas are in the test. Four kinds of days are told apart (`KINDS`). The estimate weighs each kind's mean squared error by the
kind's share of the test hours. No weighting can predict what no training day resembles: Thanksgiving, Christmas and hurricane
Sandy (29 and 30 October 2012). So the test score is likely to be worse than the estimate.
"""

import argparse
import contextlib
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from benchmarks import measuring
from stages.bikes import featurize, model, prepare, train
from stages.bikes.features import WET
from stages.bikes.hours.holidays import days
from stages.common import config
from stages.experiments.records import recipes

TEMPORARY = Path(".dvc/tmp/exps/windows")
"""Below `.dvc/tmp/exps/`, so that relative sources start at the checkout (`files.home`)."""

WINDOWS, FIRST_DAYS = 6, 9

KINDS = ["year's end or Thanksgiving", "storm or long rain", "free day", "working day"]
"""Kinds of days, from the most to the least special. A day of several kinds is the first of them."""

LONG_RAIN, GAP = 10, 3
"""Hours of rain or snow in a day above which it is one of long rain, and hours without riders above which it is one of a storm."""


def window(when: pd.Series) -> np.ndarray:
    """Return the window of each hour, int (hours), from 0 to `WINDOWS` - 1."""
    return np.asarray((when.dt.month - 1) % 3 * 2 + (when.dt.day > FIRST_DAYS))


def kind(hours: pd.DataFrame) -> pd.Series:
    """Return the place in `KINDS` of each hour's day, int, indexed like ``hours``, which have Kaggle's columns."""
    date = hours["datetime"].dt.normalize()
    calendar = days(date.min(), date.max()).loc[date]
    of_day = hours.groupby(date)["weather"].agg(rain=lambda weather: (weather > WET).sum(), rows="size").loc[date]
    stormy = (of_day["rain"] > LONG_RAIN) | (of_day["rows"] < 24 - GAP)
    conditions = [calendar["quiet"] == 1, stormy, calendar["off"] > 0]
    return pd.Series(np.select([one.to_numpy() for one in conditions], [0, 1, 2], 3), hours.index)


def forecasts(known: pd.DataFrame, test: pd.DataFrame, held_out: int) -> pd.DataFrame:
    """Train in this folder, which has params.yaml and prepare's files, on the ``known`` days outside a window.

    Returns the window's hours with the columns forecast, low and high.
    """
    inside = window(known["datetime"]) == held_out
    hours = known[inside].reset_index(drop=True)
    weather = pd.concat([test, hours[test.columns]]).sort_values("datetime", ignore_index=True)
    known[~inside].reset_index(drop=True).to_parquet(prepare.RAW / "train.parquet")
    weather.to_parquet(prepare.RAW / "test.parquet")
    (prepare.RAW / "answers.parquet").unlink(missing_ok=True)
    featurize.main()
    train.main()
    forecaster = model.load()
    asked = weather["datetime"].isin(hours["datetime"]).to_numpy()
    riders = forecaster.predict(pd.read_parquet(featurize.FEATURES / "test.parquet")[asked].reset_index(drop=True))
    low, high = forecaster.interval(riders)
    found: pd.DataFrame = hours.assign(forecast=riders, low=low, high=high)
    return found


def summary(hours: pd.DataFrame, shares: list[float]) -> dict[str, Any]:
    """Return the scores of `predicted` hours. ``shares``: each kind's fraction of the test hours."""
    error = (np.log1p(hours["forecast"]) - np.log1p(hours["count"])) ** 2
    within = hours["count"].between(hours["low"], hours["high"])
    by_window, by_kind = (error.groupby(group).mean() for group in (window(hours["datetime"]), kind(hours)))
    found = [KINDS[place] for place in by_kind.index]
    weights = np.array(shares)[by_kind.index] / np.array(shares)[by_kind.index].sum()
    covered = within.groupby(kind(hours)).mean()
    return {
        "estimate": rounded(np.sqrt((weights * by_kind).sum())),
        "rmsle": rounded(np.sqrt(error.mean())),
        "rmsle_by_window": {str(name): rounded(value) for name, value in np.sqrt(by_window).items()},
        "rmsle_by_kind": dict(zip(found, map(rounded, np.sqrt(by_kind)), strict=True)),
        "coverage": rounded(within.mean()),
        "coverage_estimate": rounded((weights * covered).sum()),
        "coverage_by_kind": dict(zip(found, map(rounded, covered), strict=True)),
    }


def rounded(value: float) -> float:
    return round(float(value), 4)


def measure(one: recipes.Experiment, windows: int) -> dict[str, Any]:
    """Return an experiment's scores over the first ``windows``. Runs in an empty folder of its own."""
    TEMPORARY.mkdir(parents=True, exist_ok=True)
    parameters = recipes.applied(config.read(), one.settings)
    with tempfile.TemporaryDirectory(dir=TEMPORARY) as folder, contextlib.chdir(folder):
        config.PARAMETERS.write_text(yaml.safe_dump(parameters), encoding="utf-8")
        prepare.main()
        known, test = (pd.read_parquet(prepare.RAW / f"{part}.parquet") for part in ("train", "test"))
        begin = time.perf_counter()
        held_out = pd.concat([forecasts(known, test, number) for number in range(windows)])
        seconds = time.perf_counter() - begin
    shares = {
        part: kind(hours).value_counts(normalize=True).reindex(range(len(KINDS)), fill_value=0)
        for part, hours in (("training", known), ("test", test))
    }
    found = summary(held_out.sort_values("datetime", ignore_index=True), shares["test"].tolist())
    found["seconds_a_window"] = round(seconds / windows, 1)
    return found | {
        f"{part}_shares": dict(zip(KINDS, map(rounded, values), strict=True)) for part, values in shares.items()
    }


def main(names: list[str], settings: list[str], windows: int) -> dict[str, Any]:
    changes = recipes.changes(settings)
    results = {}
    for name in names:
        results[name] = measure(recipes.experiments(name, changes)[0], windows)
        print(name, results[name], flush=True)
    return {"recipes": results}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="recipe")
    recipes.add_settings(parser)
    parser.add_argument(
        "--windows", type=int, choices=range(1, WINDOWS + 1), default=WINDOWS, help="the first windows only"
    )


if __name__ == "__main__":
    measuring.run(main, arguments)
