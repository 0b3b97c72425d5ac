"""Plot the data, the training and the results of landmarks.

`sheets.py` draws the plots that show photographs.
"""

import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from stages.common import files
from stages.common.program import run
from stages.common.results import classification, reporting
from stages.common.results.classification import Labels, Probabilities
from stages.landmarks import model
from stages.landmarks.learning.views import Views
from stages.landmarks.model import TRAINED, Member
from stages.landmarks.pictures import sheets
from stages.landmarks.pictures.sheets import readable
from stages.landmarks.store import Store

FEATURES = Path("data/landmarks/features")
EVALUATION = Path("reports/landmarks/evaluation")
PLOTS = Path("reports/landmarks/plots")


def history(title: str, about: dict[str, Any], steps: NDArray[np.void], epochs: NDArray[np.void]) -> Figure:
    """Plot loss, accuracy and learning rate over epochs. ``about`` is train's description of the network."""
    figure, axes = plt.subplots(3, 1, figsize=(8, 8), sharex=True, height_ratios=[3, 3, 1.3])
    loss, accuracy, rate = axes
    passed = steps["step"] * epochs["epoch"][-1] / steps["step"][-1]
    loss.plot(passed, steps["loss"], linewidth=1)
    loss.plot(epochs["epoch"], epochs["valid_loss"], "o-", markersize=4)
    loss.set(title="loss (training: mean since the previous point, with augmentation, dropout, label smoothing if set)")
    loss.set(ylabel="cross-entropy [nats]")
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
    trained, all_of_them = about["parameters_trained"], about["parameters"]
    how_many = "all" if trained == all_of_them else f"{trained:,}"
    figure.suptitle(f"landmarks: training of {title}\n{all_of_them:,} parameters, {how_many} of them trained")
    return figure


def confusion(counts: NDArray[np.intp], names: list[str]) -> Figure:
    """Plot how many test photographs of each actual class got each predicted class. Colour: fraction of the row."""
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
    right = f"{np.trace(counts)} of {counts.sum()} test photographs correct"
    figure.suptitle(f"landmarks: confusion matrix, {right}", fontsize="medium")
    figure.colorbar(picture, label="fraction of the row [%]", shrink=0.6)
    return figure


def reliability(probabilities: Probabilities, labels: Labels) -> Figure:
    """Plot the accuracy of predictions by their confidence."""
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
        title=f"landmarks: reliability on {len(labels)} test photographs, expected calibration error {error:.1%}",
        ylabel="accuracy [%]",
        xlim=(0, 100),
        ylim=(0, 100),
    )
    upper.legend(loc="upper left")
    lower.bar(bins["from"], [row["images"] for row in rows], **bars, color="tab:gray")
    lower.set(xlabel="confidence: probability of the predicted class [%]", ylabel="photographs")
    return figure


def classes(counts: NDArray[np.intp], names: list[str]) -> Figure:
    """Plot precision and recall of each class, the best recall on top."""
    rows = sorted(classification.by_class(counts, names), key=lambda row: row["recall"] or 0)
    figure, axis = plt.subplots(figsize=(8, min(1.8 + 0.36 * len(rows), 300)))
    places = np.arange(len(rows))
    meanings = {
        "recall": "recall: fraction of the class's photographs that are predicted correctly",
        "precision": "precision: fraction of the photographs predicted as the class that belong to it",
    }
    for (name, meaning), shift, colour in zip(meanings.items(), (0.2, -0.2), ("tab:blue", "tab:orange"), strict=True):
        bars = axis.barh(places + shift, [100 * (row[name] or 0) for row in rows], 0.38, color=colour, label=meaning)
        shares = ["never predicted" if row[name] == "" else f"{row[name]:.0%}" for row in rows]
        axis.bar_label(bars, shares, padding=2, fontsize="x-small")
    axis.set_yticks(places, [f"{readable(row['class'])} ({row['images']})" for row in rows], fontsize="small")
    axis.set(xlabel="fraction [%]", xlim=(0, 107), ylabel="class (test photographs)", ylim=(-0.6, len(rows) - 0.4))
    figure.suptitle("landmarks: recall and precision by class, on the test photographs")
    figure.legend(loc="outside lower center")
    return figure


def title(about: dict[str, Any], number: int, networks: int) -> str:
    """Return a network's name for use in plots."""
    words = [about["network"], about["settings"].get("backbone"), f"({number} of {networks})" if networks > 1 else None]
    return " ".join(word for word in words if word)


def table(path: Path) -> NDArray[np.void]:
    """Read a history that train wrote, with one field per column."""
    return np.atleast_1d(np.genfromtxt(path, delimiter=",", names=True, encoding="utf-8"))


def main() -> None:
    about = files.read_json(files.require(TRAINED, "train@landmarks") / "network.json")
    probabilities = np.load(files.require(EVALUATION, "evaluate@landmarks") / "probabilities.npy")
    train, valid, test = (Store(FEATURES, part) for part in ("train", "valid", "test"))
    names, labels = [place["name"] for place in about["classes"]], test.labels.numpy()
    counts = classification.confusion_matrix(labels, probabilities.argmax(1), len(names))
    networks = about["members"]
    titles = [title(network, number, len(networks)) for number, network in enumerate(networks, 1)]
    first = model.load(measured=True).members[0]
    assert isinstance(first, Member)
    eyes = Views(first, about["size"], **networks[0]["views"], train=train, valid=valid)
    histories = [
        history(titles[index], network, *(table(TRAINED / str(index) / name) for name in ("steps.csv", "epochs.csv")))
        for index, network in enumerate(networks)
    ]
    pictures = {
        "photographs": sheets.training(titles[0], eyes, networks[0]["settings"], names),
        **{f"training_{number}": picture for number, picture in enumerate(histories, 1)},
        "confusion_matrix": confusion(counts, names),
        "confusions": sheets.confusions(probabilities, names, test),
        "reliability": reliability(probabilities, labels),
        "classes": classes(counts, names),
        "evidence": sheets.evidence(titles[0], eyes, probabilities, names, test),
    }
    with files.new_folder(PLOTS) as folder:
        for name, figure in pictures.items():
            reporting.save(figure, folder / f"{name}.png")


if __name__ == "__main__":
    run(main)
