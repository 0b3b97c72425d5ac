"""Plot the data, the models and the forecasts of bikes. Takes 3 s."""

import json
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
from stages.common.results.importance import Axis, importance

FEATURES = Path("data/bikes/features")
EVALUATION = Path("reports/bikes/evaluation")
PLOTS = Path("reports/bikes/plots")

SHOWN_FEATURES = 20

SHOWN_PARAMETERS = 4
"""Hyperparameters per model in the plot of a search."""


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


def hyperparameters(trials: pd.DataFrame) -> Figure:
    """Plot the validation score of a search's trials over each hyperparameter, the most important ones first.

    A row for each model. The importance is that of a random forest of the score over the model's hyperparameters.
    """
    rows: dict[str, list[tuple[float, Axis, list[float]]]] = {}
    for (riders, model), own in trials.groupby(["riders", "model"], sort=False):
        axes = [
            Axis(str(name), [json.loads(value) for value in values])
            for name, values in own.groupby("parameter", sort=False)["value"]
        ]
        scores = own.groupby("trial", sort=False)["rmsle"].first().tolist()
        ranked = sorted(zip(importance(axes, scores), axes, strict=True), key=lambda one: -one[0])
        rows[f"{model}, {riders}"] = [(weight, axis, scores) for weight, axis in ranked[:SHOWN_PARAMETERS]]
    figure, grid = plt.subplots(len(rows), SHOWN_PARAMETERS, figsize=(12, 2.3 * len(rows)), squeeze=False, sharey="row")
    for panels, (model, shown) in zip(grid, rows.items(), strict=True):
        for panel in panels[len(shown) :]:
            panel.set_axis_off()
        for panel, (weight, axis, scores) in zip(panels, shown, strict=False):
            panel.scatter(axis.values if axis.numeric else axis.texts(), scores, s=14)
            if axis.logarithmic:
                panel.set_xscale("log")
                reporting.plain(panel.xaxis)
            panel.set(title=f"importance {weight:.0%}", xlabel=axis.name)
        panels[0].set_ylabel(f"{model}\nRMSLE [1]")
    figure.suptitle("What the search tried: the validation RMSLE of each trial, lower is better")
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
    trials = EVALUATION / "trials.csv"
    with files.new_folder(PLOTS) as folder:
        for name, figure in {
            "demand_by_hour": demand_by_hour(known),
            "demand_over_time": demand_over_time(known),
            "histograms": histograms(known),
            "models": models(leaderboard),
            **({"hyperparameters": hyperparameters(pd.read_csv(trials))} if trials.exists() else {}),
            "feature_importance": feature_importance(pd.read_csv(EVALUATION / "importance.csv")),
            "predicted_against_actual": predicted_against_actual(validation),
            "residuals": residuals(validation),
        }.items():
            reporting.save(figure, folder / f"{name}.png")
    print(f"plots in {PLOTS}")


if __name__ == "__main__":
    run(main)
