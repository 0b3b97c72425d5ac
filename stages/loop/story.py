"""Plot the film's story: accuracy over the days, drift, retraining and promotion."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.common import files
from stages.common.results import reporting
from stages.scones.config import Loop

DARK: dict[Any, Any] = {
    "figure.facecolor": "#0d1117",
    "axes.facecolor": "#0d1117",
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), "#e6edf3"),
}
TRUE, ESTIMATED, DRIFT, UNSURE, MARK = "#3b82f6", "#94a3b8", "#f59e0b", "#a855f7", "#ef4444"
"""Colours that are readable on white and on black."""


def write(story: Mapping[str, Any], limits: Loop, folder: Path) -> None:
    """Write loop.json, and loop.png and loop-dark.png, for light and dark pages."""
    files.write_json(folder / "loop.json", story)
    styles: dict[str, dict[Any, Any]] = {"loop.png": {}, "loop-dark.png": DARK}
    for name, style in styles.items():
        with plt.rc_context(style):
            reporting.save(draw(story, limits), folder / name)


def draw(story: Mapping[str, Any], limits: Loop) -> Figure:
    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 6), sharex=True, height_ratios=(3, 2))
    days = story["days"]
    numbers = [day["day"] for day in days]
    for axis in (above, below):
        axis.axvspan(story["nightfall"] - 0.5, numbers[-1] + 0.5, color="#64748b", alpha=0.18, lw=0)
        axis.set_xlim(numbers[0] - 0.5, numbers[-1] + 0.5)
    accuracies(above, days)
    drift(below, days, limits)
    marks(above, story)
    below.set(xlabel="day; from the shaded ones on, the camera takes its pictures at night", xticks=numbers)
    return figure


def accuracies(axis: Axes, days: Sequence[Mapping[str, Any]]) -> None:
    """Plot true accuracies with their intervals, and estimated ones. Lines are interrupted where another version took over."""
    for version in dict.fromkeys(day["version"] for day in days):
        own = [day for day in days if day["version"] == version]
        numbers, values = [day["day"] for day in own], [day["accuracy"]["value"] for day in own]
        spread = [[abs(day["accuracy"][end] - day["accuracy"]["value"]) for day in own] for end in ("low", "high")]
        first = version == days[0]["version"]
        label = "right, with an interval of 95 %" if first else None
        axis.errorbar(numbers, values, spread, fmt="o-", color=TRUE, capsize=3, label=label)
        estimates = [day["estimated"] for day in own]
        axis.plot(numbers, estimates, "s--", color=ESTIMATED, ms=4, label="estimated by monitor" if first else None)
        axis.text(sum(numbers) / len(numbers), 1.04, version, ha="center", color=TRUE)
    axis.set_title("scones: the closed loop on the stand-in for AWS", pad=28)
    axis.set(ylabel="fraction of the day's pictures", ylim=(0.35, 1.1))
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)  # above the plot: marks have the whole of it


def drift(axis: Axes, days: Sequence[Mapping[str, Any]], limits: Loop) -> None:
    """Plot the measurements on which retraining depends, with their limits."""
    numbers = [day["day"] for day in days]
    for key, name, colour in (("drift", "drift", DRIFT), ("low_confidence", "unsure answers", UNSURE)):
        limit = getattr(limits, key)
        axis.plot(numbers, [day[key] for day in days], "o-", color=colour, label=f"{name}, limit {limit:g}")
        axis.axhline(limit, color=colour, ls=":", lw=1.5)
    axis.set(ylabel="drift, fraction", ylim=(-0.05, 1.05))
    axis.legend(loc="upper left")


def marks(axis: Axes, story: Mapping[str, Any]) -> None:
    """Mark when a limit was first exceeded, and when each candidate was promoted or refused."""
    proposed = [day["day"] for day in story["days"] if day["beyond"]]
    found = [(proposed[0], "drift:\nretraining proposed")] if proposed else []
    for one in story["candidates"]:
        told = f"retrained, promoted\nas {one['version']}" if one["version"] else "candidate refused"
        found.append((one["day"] + 0.5 if one["version"] else one["day"], told))
    for number, (day, text) in enumerate(found):
        axis.axvline(day, color=MARK, lw=1.2)
        height = 0.37 + 0.08 * (number % 3)  # neighbours must not cover each other
        at_the_end = day > story["days"][-1]["day"] - 1
        side, shift = ("right", -4) if at_the_end else ("left", 4)
        axis.annotate(
            text, (day, height), (shift, 0), textcoords="offset points", color=MARK, ha=side, va="bottom", fontsize=9
        )
