"""Plot the data, the models and the forecasts of bikes. Takes 3 s."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import HOURLY, MONTHLY, AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from stages.bikes.hours import columns
from stages.common import files
from stages.common.program import run
from stages.common.results import reporting

FEATURES = Path("data/bikes/features")
EVALUATION = Path("reports/bikes/evaluation")
PLOTS = Path("reports/bikes/plots")

SHOWN_FEATURES = 20

TRIAL = re.compile(r"_T\d+")
"""In a model's name: the number of its trial in a search."""


def demand_by_hour(hours: pd.DataFrame) -> Figure:
    """Plot mean riders by hour on working and free days, for each kind of rider. ``hours`` must have counts."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharex=True)
    for axis, kind in zip(axes, ("registered", "casual"), strict=True):
        means = hours.groupby(["workingday", hours["datetime"].dt.hour])[kind].mean()
        for workingday, label in ((1, "working days"), (0, "weekends and holidays")):
            if workingday in means:
                axis.plot(means[workingday].index, means[workingday], marker=".", label=label)
        axis.set(title=f"{kind} riders", xlabel="hour of the day", ylabel="mean riders an hour", xticks=range(0, 24, 3))
        axis.margins(y=0.25)  # room for the legend
        axis.set_ylim(bottom=0)
        axis.legend(loc="upper left")
    figure.suptitle("Demand by hour and kind of day, training days")
    return figure


def demand_over_time(hours: pd.DataFrame) -> Figure:
    """Plot riders per training day by kind of rider, which shows season and growth."""
    figure, axis = plt.subplots(figsize=(9, 3.2))
    by_day = hours.groupby(hours["datetime"].dt.normalize())[["registered", "casual"]].sum()
    for kind in by_day:
        axis.plot(by_day.index, by_day[kind], ".", markersize=3, label=kind)
    _dates(axis)
    axis.set(title="Riders per day, training days", xlabel="date", ylabel="riders per day")
    axis.legend()
    return figure


def histograms(hours: pd.DataFrame) -> Figure:
    """Plot how often each value occurs, for all of Kaggle's columns."""
    figure, axes = plt.subplots(4, 3, figsize=(9, 9))
    described = columns.COLUMNS | columns.COUNTS
    for axis, column in zip(axes.flat, ["datetime", *described], strict=True):
        values = hours[column]
        axis.set(xlabel=described[column].label if column in described else "date", ylabel="hours")
        if column in described and described[column].codes:
            axis.hist(values, bins=np.arange(values.min() - 0.5, values.max() + 1), rwidth=0.8)
            axis.set_xticks(sorted(values.unique()))
        else:
            axis.hist(values, bins=30)
        if column == "datetime":
            _dates(axis, 4)
    figure.suptitle("How often each value occurs, training days")
    return figure


def predicted_against_actual(validation: pd.DataFrame) -> Figure:
    """Plot a point per hour on logarithmic axes, and the last month's validation days over time."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), width_ratios=[2, 3])
    actual, predicted = validation["actual"] + 1, validation["predicted"] + 1
    limit = max(actual.max(), predicted.max()) * 1.2
    left.scatter(actual, predicted, s=4, alpha=0.4)
    left.plot([1, limit], [1, limit], color="black", linewidth=1, label="predicted = actual")
    left.set(xscale="log", yscale="log", xlim=(1, limit), ylim=(1, limit))
    reporting.plain(left.xaxis)
    reporting.plain(left.yaxis)
    left.set(title="Every validation hour", xlabel="actual riders per hour + 1", ylabel="predicted riders per hour + 1")
    left.legend()
    month = validation["datetime"].dt.to_period("M")
    last = validation[month == month.iloc[-1]]
    right.plot(last["datetime"], last["actual"], label="actual")
    right.plot(last["datetime"], last["predicted"], label="predicted")
    _dates(right)
    right.set(title=f"Validation days of {month.iloc[-1]}", xlabel="date and hour", ylabel="riders per hour")
    right.legend()
    return figure


def residuals(validation: pd.DataFrame) -> Figure:
    """Plot the errors that make up the RMSLE: their sizes, by hour and by day."""
    error = np.log1p(validation["predicted"]) - np.log1p(validation["actual"])
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.8))
    label = "log(1 + predicted) - log(1 + actual)"
    left.hist(error, bins=60)
    left.set(title="Errors", xlabel=label, ylabel="validation hours")
    hour = validation["datetime"].dt.hour
    middle.boxplot([error[hour == h] for h in range(24)], positions=range(24), showfliers=False)
    middle.set(title="By hour (box: middle half)", xlabel="hour of the day", ylabel=label)
    middle.set_xticks(range(0, 24, 3), [str(h) for h in range(0, 24, 3)])
    daily = error.groupby(validation["datetime"].dt.normalize()).mean()
    right.axhline(0, color="black", linewidth=1)
    right.plot(daily.index, daily, ".", markersize=4)
    _dates(right)
    right.set(title="Mean of each validation day", xlabel="date", ylabel=label)
    return figure


def feature_importance(importance: pd.DataFrame) -> Figure:
    """Plot the most important features."""
    top = importance.head(SHOWN_FEATURES)[::-1]
    figure, axis = plt.subplots(figsize=(7, 0.25 * len(top) + 1.2))
    axis.barh(top["feature"], top["rmsle_growth"], xerr=top["spread"], error_kw={"elinewidth": 1})
    shown = f"top {len(top)} of {len(importance)} features"
    axis.set_title(f"Permutation importance, {shown},\non a sample of the validation days (lines: range over shuffles)")
    axis.set(xlabel="increase of the validation RMSLE when the feature is shuffled [1]", ylabel="feature")
    return figure


def models(leaderboard: pd.DataFrame) -> Figure:
    """Plot the validation score of each model."""
    scored = leaderboard.dropna(subset="rmsle_valid")[::-1]
    figure, axis = plt.subplots(figsize=(7, 0.3 * len(scored) + 1.2))
    bars = axis.barh(scored["model"], scored["rmsle_valid"])
    axis.bar_label(bars, fmt="%.4f", padding=3)
    axis.margins(x=0.15)
    axis.set(title="Models on the validation days, lower is better", xlabel="RMSLE [1]", ylabel="model")
    return figure


def searched(leaderboard: pd.DataFrame, settings: dict[str, dict[str, dict[str, object]]]) -> pd.DataFrame:
    """Return how a search's hyperparameters went with the validation score, one row for each kind of rider, model and parameter.

    ``settings``: each model's by kind of rider and name. Columns: riders, model, parameter and correlation, Spearman's of
    the parameter with the RMSLE over the trials; below 0, larger values were better. None for fewer than three trials.
    """
    rows = []
    for part, models in settings.items():
        column = f"rmsle_{part}" if f"rmsle_{part}" in leaderboard else "rmsle_valid"
        scores = leaderboard.set_index("model")[column].dropna()
        trials = {name: values for name, values in models.items() if TRIAL.search(name) and name in scores}
        for family in dict.fromkeys(TRIAL.split(name)[0] for name in trials):
            own = pd.DataFrame({name: trials[name] for name in trials if TRIAL.split(name)[0] == family}).T
            numbers = own.apply(pd.to_numeric, errors="coerce").dropna(axis="columns")
            varied = numbers.loc[:, numbers.nunique() > 1]
            if len(varied) >= 3:
                found = varied.corrwith(scores.loc[varied.index], method="spearman")
                rows += [(part, family, name, value) for name, value in found.items()]
    return pd.DataFrame(rows, columns=["riders", "model", "parameter", "correlation"])


def hyperparameters(found: pd.DataFrame) -> Figure:
    """Plot what `searched` returned."""
    found = found[::-1]
    figure, axis = plt.subplots(figsize=(7, 0.3 * len(found) + 1.4))
    bars = axis.barh(found["riders"] + " riders, " + found["model"] + ": " + found["parameter"], found["correlation"])
    axis.bar_label(bars, fmt="%.2f", padding=3)
    axis.axvline(0, color="black", linewidth=1)
    axis.set(title="Hyperparameters that the search varied", ylabel="hyperparameter", xlim=(-1.2, 1.2))
    axis.set_xlabel("rank correlation with the validation RMSLE [1] (below 0: larger values were better)")
    return figure


def _dates(axis: Axes, most: int = 8) -> None:
    locator = AutoDateLocator(minticks=3, maxticks=most)
    # Without these intervals, matplotlib warns if the data span a few days or two years.
    locator.intervald[HOURLY].append(24)
    locator.intervald[MONTHLY].append(12)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def main() -> None:
    hours = pd.read_parquet(files.require(FEATURES, "featurize@bikes") / "hours.parquet")
    known = hours[hours["part"] != "test"]
    files.require(EVALUATION, "evaluate@bikes")
    validation = pd.read_csv(EVALUATION / "validation.csv", parse_dates=["datetime"])
    leaderboard = pd.read_csv(EVALUATION / "leaderboard.csv")
    search = searched(leaderboard, files.read_json(EVALUATION / "settings.json"))
    with files.new_folder(PLOTS) as folder:
        for name, figure in {
            "demand_by_hour": demand_by_hour(known),
            "demand_over_time": demand_over_time(known),
            "histograms": histograms(known),
            "models": models(leaderboard),
            **({"hyperparameters": hyperparameters(search)} if len(search) else {}),
            "feature_importance": feature_importance(pd.read_csv(EVALUATION / "importance.csv")),
            "predicted_against_actual": predicted_against_actual(validation),
            "residuals": residuals(validation),
        }.items():
            reporting.save(figure, folder / f"{name}.png")
    print(f"plots in {PLOTS}")


if __name__ == "__main__":
    run(main)
