"""Plot the data, the training and the results of scones."""

import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from stages.common import files
from stages.common.program import run
from stages.common.results import classification, reporting
from stages.common.results.classification import Labels, Probabilities
from stages.scones.learning.augmentation import augmented
from stages.scones.model import TRAINED, Classifier, load

FEATURES = Path("data/scones/features")
EVALUATION = Path("reports/scones/evaluation")
PLOTS = Path("reports/scones/plots")

COLUMNS, ROWS = 8, 3
"""Largest size of a sheet of pictures."""

Pixels = NDArray[np.uint8]


def pictures(images: Pixels, labels: Labels, names: list[str]) -> Figure:
    """Plot training pictures with their classes."""
    chosen = np.random.default_rng(0).permutation(len(labels))[: COLUMNS * ROWS]
    figure, axes = _sheet(len(chosen))
    for axis, index in zip(axes, chosen, strict=False):
        axis.imshow(images[index])
        axis.set_title(names[labels[index]], fontsize="x-small")
    figure.suptitle(f"scones: {len(chosen)} of {len(labels)} training pictures, 32x32 pixels")
    return figure


def augmentation(
    images: Pixels, labels: Labels, names: list[str], classifier: Classifier, limits: dict[str, float]
) -> Figure:
    """Plot a few training pictures, one per row, as the network sees them in several epochs."""
    generator = torch.Generator().manual_seed(0)
    kinds = np.unique(labels)[:ROWS]
    figure, axes = _sheet(COLUMNS * len(kinds))
    for row, label in enumerate(kinds):
        index = int(np.flatnonzero(labels == label)[0])
        copies = torch.from_numpy(images[index : index + 1]).expand(COLUMNS, -1, -1, -1)
        inputs = augmented(copies, classifier, limits, generator)
        shown = (inputs * classifier.std.view(3, 1, 1) + classifier.mean.view(3, 1, 1)).clip(0, 1)
        for axis, image in zip(axes[row * COLUMNS :], shown.permute(0, 2, 3, 1).numpy(), strict=False):
            axis.imshow(image)
            axis.set_title(names[label], fontsize="x-small")
    side = f"{classifier.image_size}x{classifier.image_size}"
    figure.suptitle(f"scones: the same pictures with different random augmentation in each epoch, {side} pixels")
    return figure


def history(about: dict[str, Any], steps: NDArray[np.void], epochs: NDArray[np.void]) -> Figure:
    """Plot loss, accuracy and learning rate over epochs."""
    figure, (loss, accuracy, rate) = plt.subplots(3, 1, figsize=(8, 8), sharex=True, height_ratios=[3, 3, 1.3])
    passed = steps["step"] * epochs["epoch"][-1] / steps["step"][-1]
    loss.plot(
        passed, steps["loss"], linewidth=1, label="training, since the previous point (with augmentation, smoothing)"
    )
    loss.plot(epochs["epoch"], epochs["valid_loss"], "o-", markersize=3, label="validation, after the epoch")
    loss.set(title="loss, before calibration", ylabel="cross-entropy [nats]")
    for part, label in (("train", "training, during the epoch"), ("valid", "validation, after the epoch")):
        accuracy.plot(epochs["epoch"], 100 * epochs[f"{part}_accuracy"], "o-", markersize=3, label=label)
    accuracy.set(title="accuracy", ylabel="accuracy [%]")
    for axis in (loss, accuracy):
        axis.axvline(about["kept_epoch"], color="black", linestyle=":", linewidth=1, label="weights kept")
        axis.legend(fontsize="small")
    rate.plot(passed, steps["learning_rate"], color="tab:gray")
    rate.set(title="learning rate", xlabel="epoch", ylabel="learning rate [1]")
    rate.set_ylim(bottom=0)
    rate.xaxis.set_major_locator(MaxNLocator(integer=True))
    trained, whole = about["parameters_trained"], about["parameters"]
    figure.suptitle(f"scones: training of {about['network']}, {trained:,} of {whole:,} parameters trained")
    return figure


def confusion(probabilities: Probabilities, labels: Labels, names: list[str]) -> Figure:
    """Plot how many test pictures of each actual class got each predicted class. Colour: fraction of the row."""
    counts = classification.confusion_matrix(labels, probabilities.argmax(1), len(names))
    shares = 100 * counts / counts.sum(1, keepdims=True).clip(1)
    side = max(4.0, 0.5 * len(names))
    figure, axis = plt.subplots(figsize=(side + 2, side + 1))
    picture = axis.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            axis.text(
                column,
                row,
                str(count),
                ha="center",
                va="center",
                color="white" if shares[row, column] > 50 else "black",
            )
    axis.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axis.set_yticks(range(len(names)), names)
    axis.set(xlabel="predicted class", ylabel="actual class")
    axis.set_title(f"scones: confusion matrix, {np.trace(counts)} of {len(labels)} test pictures correct")
    axis.grid(False)
    figure.colorbar(picture, label="fraction of the row [%]", shrink=0.8)
    return figure


def reliability(probabilities: Probabilities, labels: Labels, temperature: float) -> Figure:
    """Plot the accuracy of predictions by their confidence."""
    rows = classification.reliability(probabilities, labels)
    bins = {name: np.array([row[name] for row in rows]) for name in ("from", "to", "confidence", "accuracy", "images")}
    width = bins["to"] - bins["from"]
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(7, 7), sharex=True, height_ratios=[3, 1])
    upper.bar(
        bins["from"], bins["accuracy"], width, align="edge", edgecolor="white", alpha=0.6, label="accuracy of the bin"
    )
    upper.plot(bins["confidence"], bins["accuracy"], "o", clip_on=False, label="at the bin's mean confidence")
    upper.plot([0, 1], [0, 1], "--", color="black", linewidth=1, label="perfectly calibrated")
    error = classification.calibration_error(probabilities, labels)
    upper.set(xlim=(1 / probabilities.shape[1], 1), ylim=(0, 1), ylabel="accuracy [1]")
    upper.set_title(f"scones: reliability at temperature {temperature:g}, expected calibration error {error:.1%}")
    upper.legend(loc="lower right")
    lower.bar(bins["from"], bins["images"], width, align="edge", edgecolor="white", color="tab:gray")
    lower.set(xlabel="confidence: probability of the predicted class [1]", ylabel="test pictures")
    return figure


def coverage(rows: NDArray[np.void], threshold: float) -> Figure:
    """Plot coverage and accuracy over thresholds, and accuracy over coverage."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    left.plot(rows["threshold"], 100 * rows["coverage"], label="pictures at or above it")
    left.plot(rows["threshold"], 100 * rows["accuracy"], label="accuracy among them")
    left.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:g}")
    left.set(title="scones: over thresholds", xlabel="threshold of confidence [1]", ylabel="test pictures [%]")
    right.plot(100 * rows["coverage"], 100 * rows["accuracy"], ".-")
    own = rows[np.abs(rows["threshold"] - threshold).argmin()]
    label = f"at {own['threshold']:g}: {own['coverage']:.1%}, of which {own['accuracy']:.1%} correct"
    right.plot(100 * own["coverage"], 100 * own["accuracy"], "o", color="black", label=label)
    right.set(title="for each threshold", xlabel="pictures at or above it [%]", ylabel="accuracy among them [%]")
    left.legend(loc="lower left")
    right.legend(loc="lower left")
    return figure


def mistakes(images: Pixels, probabilities: Probabilities, labels: Labels, names: list[str]) -> Figure:
    """Plot the wrong predictions with the highest confidence, highest first."""
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    wrong = np.flatnonzero(predicted != labels)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][: COLUMNS * ROWS]
    figure, axes = _sheet(len(surest))
    for axis, index in zip(axes, surest, strict=False):
        axis.imshow(images[index])
        axis.set_title(
            f"{names[labels[index]]}\nfor {names[predicted[index]]}\n{confidence[index]:.1%}", fontsize="xx-small"
        )
    figure.suptitle(
        f"scones: the {len(surest)} most confident of {len(wrong)} mistakes in {len(labels)} test pictures: actual class, "
        "predicted class"
    )
    return figure


def _sheet(pictures: int) -> tuple[Figure, list[Axes]]:
    rows = max(1, math.ceil(pictures / COLUMNS))
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(10, 1.6 * rows + 0.5), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    return figure, list(axes.flat)


def main() -> None:
    about = files.read_json(files.require(TRAINED, "train@scones") / "network.json")
    probabilities = np.load(files.require(EVALUATION, "evaluate@scones") / "probabilities.npy")
    names = about["classes"]
    with np.load(FEATURES / "train.npz") as train, np.load(FEATURES / "test.npz") as test:
        seen, labels, shown, truths = train["images"], train["labels"], test["images"], test["labels"]
    steps, epochs, curve = (
        _table(path) for path in (TRAINED / "steps.csv", TRAINED / "epochs.csv", EVALUATION / "coverage.csv")
    )
    drawn = {
        "pictures": pictures(seen, labels, names),
        "augmentation": augmentation(seen, labels, names, load(), about["augmentation"]),
        "history": history(about, steps, epochs),
        "confusion_matrix": confusion(probabilities, truths, names),
        "reliability": reliability(probabilities, truths, about["temperature"]),
        "coverage": coverage(curve, files.read_json(EVALUATION / "threshold.json")),
        "mistakes": mistakes(shown, probabilities, truths, names),
    }
    with files.new_folder(PLOTS) as folder:
        for name, figure in drawn.items():
            reporting.save(figure, folder / f"{name}.png")


def _table(path: Path) -> NDArray[np.void]:
    """Read a table of numbers with one field per column. Empty values are NaN."""
    return np.atleast_1d(np.genfromtxt(path, delimiter=",", names=True, encoding="utf-8"))


if __name__ == "__main__":
    run(main)
