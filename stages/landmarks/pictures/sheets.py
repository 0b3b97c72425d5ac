"""Contact sheets: training photographs, misclassified photographs, and the evidence for the predictions."""

import math
import textwrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from stages.common.results.classification import Probabilities
from stages.common.results.figures import readable
from stages.common.vision import pixels
from stages.landmarks.learning.views import Views
from stages.landmarks.pictures.saliency import saliency
from stages.landmarks.store import Store

PHOTOGRAPHS = 20
PAIRS, EXAMPLES = 6, 5
COLUMNS, CLASSES = 4, 60
GAP = 0.03
"""Gap between a photograph and its evidence, as a fraction of its side."""


def photographs(title: str, eyes: Views, settings: dict[str, Any], names: list[str]) -> Figure:
    """Plot training photographs as the network saw them. ``title`` and ``settings`` are the network's."""
    member, generator = eyes.member, torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(eyes.train), generator=generator)[:PHOTOGRAPHS]
    inputs = eyes.training(chosen, generator)
    if settings.get("fine_tune") == "none":  # frozen: few views, the first two without augmentation
        middle = eyes.middles("train", chosen)
        view = torch.randint(settings["views"], (len(chosen), 1, 1, 1), generator=generator)
        inputs = torch.where(view == 0, middle, torch.where(view == 1, middle.flip(3), inputs))
    shown = (inputs * member.std.view(3, 1, 1) + member.mean.view(3, 1, 1)).clip(0, 1).permute(0, 2, 3, 1).numpy()
    figure, axes = _sheet(len(chosen), 5, 1.8, 2.15)
    for axis, image, label in zip(axes, shown, eyes.train.labels[chosen].tolist(), strict=False):
        _title(axis, readable(names[label]), 22)
        axis.imshow(image)
    side = f"{inputs.shape[3]} x {inputs.shape[2]} pixels"
    figure.suptitle(f"landmarks: {len(chosen)} training photographs as {title} saw them, {side}")
    return figure


def confusions(probabilities: Probabilities, names: list[str], test: Store) -> Figure:
    """Plot the pairs of classes with the most mistakes, and each pair's photographs with the most confident mistakes."""
    predicted, labels = probabilities.argmax(1), test.labels.numpy()
    wrong = np.flatnonzero(predicted != labels)
    pairs, counts = np.unique(np.stack([labels, predicted], 1)[wrong], axis=0, return_counts=True)
    worst = np.argsort(-counts, kind="stable")[:PAIRS]
    spaced = ConstrainedLayoutEngine(h_pad=0.06)  # inches
    figure = plt.figure(figsize=(9, 0.7 + 2.3 * max(1, len(worst))), layout=spaced)
    mistakes = f"{counts[worst].sum()} of {len(wrong)} mistakes in {len(labels)} test photographs"
    figure.suptitle(f"landmarks: the most frequent confusions, {mistakes}")
    if not len(worst):
        figure.text(0.5, 0.5, "There are none: every prediction is correct.", ha="center")
    rows = figure.subfigures(max(1, len(worst)), 1, squeeze=False)[:, 0]
    for row, (actual, other), count in zip(rows, pairs[worst], counts[worst], strict=False):
        pair = f"{readable(names[actual])} predicted as {readable(names[other])}"
        heading = f"{pair}: {count} of {(labels == actual).sum()} photographs"
        row.suptitle(heading, fontsize="medium", fontweight="bold")
        own = wrong[(labels[wrong] == actual) & (predicted[wrong] == other)]
        surest = own[np.argsort(-probabilities[own, other], kind="stable")]
        for axis, index in zip(_bare(row.subplots(1, EXAMPLES)), surest, strict=False):
            axis.imshow(test.image(index))
            axis.set_anchor("N")  # aligns all photographs
            chances = probabilities[index, [other, actual]]
            axis.set_title("predicted {:.1%}\nactual {:.1%}".format(*chances), fontsize="small")
    return figure


def evidence(title: str, eyes: Views, probabilities: Probabilities, names: list[str], test: Store) -> Figure:
    """Plot each class's test photograph with the most confident correct prediction, and the network's evidence in it."""
    member, labels = eyes.member, test.labels.numpy()
    right = probabilities.argmax(1) == labels
    own = probabilities[np.arange(len(labels)), labels] + right  # correct predictions first
    classes = np.unique(labels)[:CLASSES]
    chosen = np.array([max(np.flatnonzero(labels == label), key=own.__getitem__) for label in classes])
    squares = test.crops(chosen, eyes.size)
    method, strength = saliency(member.network, member.inputs(squares), test.labels[chosen])
    shown = pixels.centre_square(squares, member.side).permute(0, 2, 3, 1).numpy()
    figure, axes = _sheet(len(chosen), COLUMNS, 2.6, 1.85)
    for axis, index, image, heat in zip(axes, chosen, shown, strength.numpy(), strict=False):
        taken = probabilities[index].argmax()
        answer = "" if right[index] else f", predicted as {readable(names[taken])}"
        _title(axis, f"{readable(names[labels[index]])} {probabilities[index, labels[index]]:.1%}{answer}", 38)
        _beside(axis, image, heat)
    figure.suptitle(
        f"landmarks: the most confident correct test photograph of each of {len(chosen)} classes, its probability,\n"
        f"and the evidence for the class, strongest in yellow: {method} of {title}"
    )
    return figure


def _beside(axis: Axes, image: NDArray[np.uint8], heat: NDArray[np.float32]) -> None:
    left, right = (0.0, 1.0, 0.0, 1.0), (1 + GAP, 2 + GAP, 0.0, 1.0)
    axis.imshow(image, extent=left)
    axis.imshow(image, extent=right)
    axis.imshow(heat, extent=right, cmap="inferno", vmin=0, vmax=1, alpha=0.2 + 0.5 * heat, interpolation="bilinear")
    axis.set(xlim=(0, 2 + GAP), ylim=(0, 1))


def _sheet(count: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Return axes for ``count`` photographs, ``width`` x ``height`` inches each, including their titles."""
    rows = math.ceil(count / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(columns * width, 0.5 + rows * height), squeeze=False)
    return figure, _bare(axes)


def _bare(axes: NDArray[Any]) -> list[Axes]:
    for axis in axes.flat:
        axis.set_axis_off()
    return list(axes.flat)


def _title(axis: Axes, text: str, width: int) -> None:
    axis.set_title(textwrap.fill(text, width), fontsize="small")
    axis.set_anchor("S")  # leaves the rest of the height to the title
