"""Plot the data, the training and the results of scones."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stages.common import files
from stages.common.program import run
from stages.common.results import classification, figures, reporting
from stages.common.results.classification import Labels, Probabilities
from stages.common.vision.classifiers import Member
from stages.scones.learning.augmentation import augmented
from stages.scones.model import TRAINED, load

FEATURES = Path("data/scones/features")
EVALUATION = Path("reports/scones/evaluation")
DETAILS = Path("reports/scones/details.json")
PLOTS = Path("reports/scones/plots")

COLUMNS, ROWS = 8, 3
"""Largest size of a sheet of pictures."""

Pixels = NDArray[np.uint8]


def pictures(images: Pixels, labels: Labels, names: list[str]) -> Figure:
    """Plot training pictures with their classes."""
    chosen = np.random.default_rng(0).permutation(len(labels))[: COLUMNS * ROWS]
    shown = [(images[index], names[labels[index]]) for index in chosen]
    seen = f"{images.shape[2]}x{images.shape[1]}"
    return _sheet(f"scones: {len(chosen)} of {len(labels)} training pictures, {seen} pixels", shown)


def augmentation(images: Pixels, labels: Labels, names: list[str], member: Member, limits: dict[str, float]) -> Figure:
    """Plot a few training pictures, one per row, as a network sees them in several epochs."""
    generator = torch.Generator().manual_seed(0)
    shown = []
    for label in np.unique(labels)[:ROWS]:
        index = int(np.flatnonzero(labels == label)[0])
        copies = torch.from_numpy(images[index : index + 1]).expand(COLUMNS, -1, -1, -1)
        inputs = augmented(copies, member, limits, generator)
        seen = (inputs * member.std.view(3, 1, 1) + member.mean.view(3, 1, 1)).clip(0, 1)
        shown += [(image, names[label]) for image in seen.permute(0, 2, 3, 1).numpy()]
    side = f"{member.image_size}x{member.image_size}"
    title = f"scones: the same pictures with different random augmentation in each epoch, {side} pixels"
    return _sheet(title, shown)


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
    shown = [
        (images[index], f"{names[labels[index]]}\nfor {names[predicted[index]]}\n{confidence[index]:.1%}")
        for index in surest
    ]
    title = (
        f"scones: the {len(surest)} most confident of {len(wrong)} mistakes in {len(labels)} test pictures: actual class, "
        "predicted class"
    )
    return _sheet(title, shown, "xx-small")


def _sheet(title: str, shown: Sequence[tuple[NDArray, str]], fontsize: str = "x-small") -> Figure:
    """Plot pictures, each with its own title, row by row."""
    rows = max(1, math.ceil(len(shown) / COLUMNS))
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(10, 1.6 * rows + 0.5), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (image, words) in zip(axes.flat, shown, strict=False):
        axis.imshow(image)
        axis.set_title(words, fontsize=fontsize)
    figure.suptitle(title)
    return figure


def main() -> None:
    about = files.read_json(files.require(TRAINED, "train@scones") / "network.json")
    probabilities = np.load(files.require(EVALUATION, "evaluate@scones") / "probabilities.npy")
    names = about["classes"]
    with np.load(FEATURES / "train.npz") as train, np.load(FEATURES / "test.npz") as test:
        seen, labels, shown, truths = train["images"], train["labels"], test["images"], test["labels"]
    counts = classification.confusion_matrix(truths, probabilities.argmax(1), len(names))
    threshold, networks = files.read_json(DETAILS)["threshold"], about["members"]
    first = load().members[0]
    assert isinstance(first, Member)
    drawn = {
        "pictures": pictures(seen, labels, names),
        "augmentation": augmentation(seen, labels, names, first, networks[0]["augmentation"]),
        **figures.histories("scones", TRAINED, networks),
        "confusion_matrix": figures.confusion("scones", "pictures", counts, names),
        "reliability": figures.reliability("scones", "pictures", probabilities, truths),
        "coverage": coverage(figures.table(EVALUATION / "coverage.csv"), threshold),
        "mistakes": mistakes(shown, probabilities, truths, names),
    }
    with files.new_folder(PLOTS) as folder:
        for name, figure in drawn.items():
            reporting.save(figure, folder / f"{name}.png")


if __name__ == "__main__":
    run(main)
