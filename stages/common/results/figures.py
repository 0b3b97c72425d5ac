"""Plots of a classifier's training and results, the same for every project."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from stages.common.results import classification, reporting
from stages.common.results.classification import Labels, Probabilities

LONGEST = 40
"""Characters of a class's name in a plot."""


def readable(name: str) -> str:
    """Return a class's name for use in plots."""
    text = name.replace("_", " ")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def table(path: Path) -> NDArray[np.void]:
    """Read a table of numbers with one field per column. Empty values are NaN."""
    return np.atleast_1d(np.genfromtxt(path, delimiter=",", names=True, encoding="utf-8"))


def history(title: str, about: dict[str, Any], steps: NDArray[np.void], epochs: NDArray[np.void]) -> Figure:
    """Plot loss, accuracy and learning rate over epochs. ``about`` is train's description of the network."""
    figure, axes = plt.subplots(3, 1, figsize=(8, 8), sharex=True, height_ratios=[3, 3, 1.3])
    loss, accuracy, rate = axes
    passed = steps["step"] * epochs["epoch"][-1] / max(steps["step"][-1], 1)  # without training, the only step is 0
    loss.plot(passed, steps["loss"], linewidth=1)
    loss.plot(epochs["epoch"], epochs["valid_loss"], "o-", markersize=4)
    loss.set(title="loss (training: mean since the previous point, with augmentation, dropout, label smoothing if set)")
    loss.set(ylabel="cross-entropy [nats]", yscale="log")
    reporting.plain(loss.yaxis)
    for part, label in (("train", "training, during the epoch"), ("valid", "validation, after the epoch")):
        accuracy.plot(epochs["epoch"], 100 * epochs[f"{part}_accuracy"], "o-", markersize=4, label=label)
    accuracy.set(title="accuracy", ylabel="accuracy [%]")
    kept = epochs[epochs["epoch"] == about["kept_epoch"]]
    for axis, values in ((loss, kept["valid_loss"]), (accuracy, 100 * kept["valid_accuracy"])):
        axis.plot(kept["epoch"], values, "o", markersize=11, color="black", fillstyle="none", label="weights kept")
    rate.plot(passed, steps["learning_rate"], color="tab:gray")
    rate.set(title="learning rate", xlabel="epoch", ylabel="learning rate [1]")
    rate.set_ylim(bottom=0)
    rate.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(*accuracy.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    trained, whole = about["parameters_trained"], about["parameters"]
    how_many = "none" if not trained else "all" if trained == whole else f"{trained:,}"
    figure.suptitle(f"{title}\n{whole:,} parameters, {how_many} of them trained")
    return figure


def histories(project: str, trained: Path, networks: Sequence[dict[str, Any]]) -> dict[str, Figure]:
    """Plot the training of each of the ``networks`` that train stored in the folder ``trained``, by the plots' names.

    ``networks`` are train's descriptions of them.
    """
    found = {}
    for index, about in enumerate(networks):
        steps, epochs = (table(trained / str(index) / name) for name in ("steps.csv", "epochs.csv"))
        title = f"{project}: training of {network_title(networks, index)}"
        found[f"history_{index + 1}"] = history(title, about, steps, epochs)
    return found


def network_title(networks: Sequence[dict[str, Any]], index: int) -> str:
    """Return the name of one of the ``networks``, as train describes them, for use in plots."""
    about, count = networks[index], len(networks)
    words = [about["network"], about["settings"].get("backbone"), f"({index + 1} of {count})" if count > 1 else None]
    return " ".join(word for word in words if word)


def confusion(project: str, unit: str, counts: NDArray[np.intp], names: list[str]) -> Figure:
    """Plot how many test examples of each actual class got each predicted class. ``unit`` names the examples in the title."""
    classes = len(names)
    shares = 100 * counts / counts.sum(1, keepdims=True).clip(1)
    side = min(max(5, min(0.45 * classes, 9), 0.26 * classes), 16)  # of the matrix, in inches
    cell = side / classes
    size = min(9.0, max(26 * cell, 6.5))  # points
    margin = 0.5 + max(len(readable(name)) for name in names) * 0.6 * size / 72
    figure, axis = plt.subplots(figsize=(margin + side + 1.2, 0.4 + side + 0.75 * margin))
    # The colour scale is the square root of the fraction, so that few mistakes are visible, too.
    picture = axis.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 100))
    for (row, column), count in np.ndenumerate(counts):
        if count and len(str(count)) * 0.64 * size < 72 * cell:  # where it fits
            colour = "white" if shares[row, column] > 35 else "black"
            axis.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=size)
    shown = range(0, classes, math.ceil(0.15 / cell))
    labels = [readable(names[label]) for label in shown]
    axis.set_xticks(shown, labels, rotation=45, ha="right", rotation_mode="anchor", fontsize=size)
    axis.set_yticks(shown, labels, fontsize=size)
    axis.set(xlabel="predicted class", ylabel="actual class")
    axis.grid(False)
    right = f"{np.trace(counts)} of {counts.sum()} test {unit} correct"
    figure.suptitle(f"{project}: confusion matrix, {right}", fontsize="medium")
    figure.colorbar(picture, label="fraction of the row [%]", shrink=0.6)
    return figure


def reliability(project: str, unit: str, probabilities: Probabilities, labels: Labels) -> Figure:
    """Plot the accuracy of predictions by their confidence, and below how many test examples have it. ``unit`` names them."""
    rows = classification.reliability(probabilities, labels)
    bins = {name: 100 * np.array([row[name] for row in rows]) for name in ("from", "to", "confidence", "accuracy")}
    bars: dict[str, Any] = {"width": bins["to"] - bins["from"], "align": "edge", "edgecolor": "white"}
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(7, 7), sharex=True, height_ratios=[3, 1])
    upper.bar(bins["from"], bins["accuracy"], **bars, color="tab:blue", alpha=0.6, label="accuracy of the bin")
    points = {"color": "tab:blue", "clip_on": False, "label": "at the bin's mean confidence"}
    upper.plot(bins["confidence"], bins["accuracy"], "o", **points)
    upper.plot([0, 100], [0, 100], "--", color="black", linewidth=1, label="perfectly calibrated")
    error = classification.calibration_error(probabilities, labels)
    upper.set(
        title=f"{project}: reliability on {len(labels)} test {unit}, expected calibration error {error:.1%}",
        ylabel="accuracy [%]",
        xlim=(0, 100),
        ylim=(0, 100),
    )
    upper.legend(loc="upper left")
    lower.bar(bins["from"], [row["images"] for row in rows], **bars, color="tab:gray")
    lower.set(xlabel="confidence: probability of the predicted class [%]", ylabel=unit)
    return figure
