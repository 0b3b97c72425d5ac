"""Plot the data, the training and the results of mnist. Takes 3 s."""

import csv
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from stages.common import files
from stages.common.program import run
from stages.common.results import reporting

FEATURES = Path("data/mnist/features")
TRAINED = Path("models/mnist/trained")
EVALUATION = Path("reports/mnist/evaluation")
PLOTS = Path("reports/mnist/plots")

Columns = dict[str, NDArray[np.float64]]
MISTAKES = 20


def digits(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Figure:
    """Plot the first five images with their labels."""
    figure, axes = plt.subplots(1, 5, figsize=(8, 2.4), sharey=True)
    for axis, image, label in zip(axes, images, labels, strict=False):
        _show(axis, image)
        axis.set(title=f"label {label}", xlabel="column [pixel]")
        axis.tick_params(labelbottom=True, labelleft=axis is axes[0])
    axes[0].set_ylabel("row [pixel]")
    figure.suptitle("Five training images, 28x28 pixels from 0 (background) to 255 (ink)")
    return figure


def loss(steps: Columns, epochs: Columns) -> Figure:
    """Plot training loss over steps and validation loss after each epoch, with the learning rate below."""
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(8, 5), sharex=True, height_ratios=[3, 1])
    ends = steps["step"].max() * epochs["epoch"] / epochs["epoch"].max()
    upper.plot(
        steps["step"],
        steps["loss"],
        label="training, mean since the previous point",
    )
    upper.plot(ends, epochs["valid_loss"], "o-", label="validation, after each epoch")
    upper.set(
        title="mnist: loss over training steps (training: with dropout, augmentation, label smoothing where set)",
        ylabel="cross-entropy [nats]",
        yscale="log",
    )
    upper.legend()
    lower.plot(steps["step"], steps["learning_rate"], color="tab:gray")
    lower.set(title="learning rate", xlabel="training step [batches]", ylabel="learning rate [1]")
    lower.set_ylim(bottom=0)
    return figure


def accuracy(epochs: Columns) -> Figure:
    """Plot training and validation accuracy over epochs."""
    figure, axis = plt.subplots(figsize=(8, 3.5))
    axis.plot(
        epochs["epoch"],
        100 * epochs["train_accuracy"],
        "o-",
        label="training, during the epoch (with dropout, augmentation)",
    )
    axis.plot(epochs["epoch"], 100 * epochs["valid_accuracy"], "o-", label="validation, after the epoch")
    axis.set(title="mnist: accuracy over epochs", xlabel="epoch", ylabel="accuracy [%]")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend()
    return figure


def confusion(probabilities: NDArray[np.float32], labels: NDArray[np.uint8]) -> Figure:
    """Plot how many test images of each actual digit got each predicted digit. Colour: fraction of the row."""
    classes = probabilities.shape[1]
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (labels, probabilities.argmax(1)), 1)
    shares = counts / counts.sum(1, keepdims=True).clip(1)
    figure, axis = plt.subplots(figsize=(6.5, 5.5))
    picture = axis.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[row, column] > 0.5 else "black"
            axis.text(column, row, str(count), ha="center", va="center", color=colour, fontsize="small")
    right = int(np.trace(counts))
    axis.set(
        title=f"mnist: confusion matrix, {right} of {len(labels)} test images correct",
        xlabel="predicted digit",
        ylabel="actual digit",
    )
    axis.set(xticks=range(classes), yticks=range(classes))
    axis.grid(False)
    figure.colorbar(picture, label="fraction of the actual digit's images [%]")
    return figure


def mistakes(images: NDArray[np.uint8], probabilities: NDArray[np.float32], labels: NDArray[np.uint8]) -> Figure:
    """Plot the wrong predictions with the highest confidence, highest first."""
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    wrong = np.flatnonzero(predicted != labels)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]
    figure, axes = plt.subplots(4, 5, figsize=(8, 8.4))
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, index in zip(axes.flat, surest, strict=False):
        axis.set_axis_on()
        _show(axis, images[index])
        title = f"image {index}\n{labels[index]} predicted as {predicted[index]}, {confidence[index]:.1%}"
        axis.set(title=title, xticks=[], yticks=[])
        axis.set(xlabel="column [pixel]", ylabel="row [pixel]")
        for text in (axis.title, axis.xaxis.label, axis.yaxis.label):
            text.set_fontsize("x-small")
    figure.suptitle(
        f"mnist: the {len(surest)} most confident of {len(wrong)} mistakes in {len(labels)} test images (28x28 pixels)"
    )
    return figure


def _show(axis: Axes, image: NDArray[np.uint8]) -> None:
    axis.imshow(image, cmap="gray_r", vmin=0, vmax=255)
    axis.grid(False)


def columns(path: Path) -> Columns:
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def main() -> None:
    steps, epochs = (columns(files.require(TRAINED, "train@mnist") / name) for name in ("steps.csv", "epochs.csv"))
    probabilities = np.load(files.require(EVALUATION, "evaluate@mnist") / "probabilities.npy")
    with np.load(FEATURES / "train.npz") as train, np.load(FEATURES / "test.npz") as test:
        pictures = {
            "digits": digits(train["images"], train["labels"]),
            "loss": loss(steps, epochs),
            "accuracy": accuracy(epochs),
            "confusion_matrix": confusion(probabilities, test["labels"]),
            "mistakes": mistakes(test["images"], probabilities, test["labels"]),
        }
    with files.new_folder(PLOTS) as folder:
        for name, figure in pictures.items():
            reporting.save(figure, folder / f"{name}.png")


if __name__ == "__main__":
    run(main)
