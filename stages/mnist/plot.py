"""Plot the data, the training and the results of mnist. Takes 3 s."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stages.common import files
from stages.common.program import run
from stages.common.results import classification, figures, reporting

FEATURES = Path("data/mnist/features")
TRAINED = Path("models/mnist/trained")
EVALUATION = Path("reports/mnist/evaluation")
PLOTS = Path("reports/mnist/plots")

MISTAKES = 20
CLASSES = [str(digit) for digit in range(10)]


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
        axis.set(title=title, xticks=[], yticks=[], xlabel="column [pixel]", ylabel="row [pixel]")
        for text in (axis.title, axis.xaxis.label, axis.yaxis.label):
            text.set_fontsize("x-small")
    figure.suptitle(
        f"mnist: the {len(surest)} most confident of {len(wrong)} mistakes in {len(labels)} test images (28x28 pixels)"
    )
    return figure


def _show(axis: Axes, image: NDArray[np.uint8]) -> None:
    axis.imshow(image, cmap="gray_r", vmin=0, vmax=255)
    axis.grid(False)


def main() -> None:
    networks = files.read_json(files.require(TRAINED, "train@mnist") / "network.json")["members"]
    probabilities = np.load(files.require(EVALUATION, "evaluate@mnist") / "probabilities.npy")
    with np.load(FEATURES / "train.npz") as train, np.load(FEATURES / "test.npz") as test:
        seen, images, labels = (train["images"], train["labels"]), test["images"], test["labels"]
    counts = classification.confusion_matrix(labels, probabilities.argmax(1), len(CLASSES))
    pictures = {
        "digits": digits(*seen),
        **figures.histories("mnist", TRAINED, networks),
        "confusion_matrix": figures.confusion("mnist", "images", counts, CLASSES),
        "reliability": figures.reliability("mnist", "images", probabilities, labels),
        "mistakes": mistakes(images, probabilities, labels),
    }
    with files.new_folder(PLOTS) as folder:
        for name, figure in pictures.items():
            reporting.save(figure, folder / f"{name}.png")


if __name__ == "__main__":
    run(main)
