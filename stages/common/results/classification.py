"""Metrics of classification: accuracy, cross-entropy, calibration, confusion matrix. Needs numpy only.

`probabilities` are float32 (N, classes) whose rows sum to 1; `labels` are integers (N) from 0.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Probabilities = NDArray[np.float32]
Labels = NDArray[np.integer]

BINS = 15
"""Number of bins of confidence, equally wide, as in https://arxiv.org/abs/1706.04599."""


def accuracy(probabilities: Probabilities, labels: Labels, top: int = 1) -> float:
    """Return the fraction of examples whose class is among the ``top`` most probable ones."""
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    return float((best == labels[:, None]).any(1).mean())


def cross_entropy(probabilities: Probabilities, labels: Labels) -> float:
    """Return the mean negative log-likelihood in nats."""
    # A probability that underflows to 0 counts as the smallest float32.
    likelihood = probabilities[np.arange(len(labels)), labels].clip(np.finfo(np.float32).tiny).astype(np.float64)
    return float(-np.log(likelihood).mean())


def reliability(probabilities: Probabilities, labels: Labels) -> list[dict[str, float]]:
    """Return a row for each bin of confidence that has images: from, to, images, confidence (mean), accuracy."""
    confidence = probabilities.max(1).astype(np.float64)
    right = probabilities.argmax(1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    rows = []
    for number in np.unique(bins):
        own = bins == number
        rows.append(
            {
                "from": round(number / BINS, 6),
                "to": round((number + 1) / BINS, 6),
                "images": int(own.sum()),
                "confidence": round(float(confidence[own].mean()), 6),
                "accuracy": round(float(right[own].mean()), 6),
            }
        )
    return rows


def calibration_error(probabilities: Probabilities, labels: Labels) -> float:
    """Return the expected calibration error in [0, 1]: mean |accuracy - confidence| of the bins, weighted by images."""
    rows = reliability(probabilities, labels)
    return sum(row["images"] * abs(row["accuracy"] - row["confidence"]) for row in rows) / len(labels)


def confusion_matrix(labels: Labels, predicted: Labels, classes: int) -> NDArray[np.intp]:
    """Count how often each actual class (row) was predicted as each class (column): (classes, classes)."""
    counts = np.zeros((classes, classes), np.intp)
    np.add.at(counts, (labels, predicted), 1)
    return counts


def by_class(confusion: NDArray[np.intp], names: list[str]) -> list[dict[str, Any]]:
    """Return a row for each class: class, images, precision (empty if never predicted), recall (empty without images)."""
    right, actual, predicted = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    return [
        {
            "class": name,
            "images": int(actual[label]),
            "precision": round(float(right[label] / predicted[label]), 6) if predicted[label] else "",
            "recall": round(float(right[label] / actual[label]), 6) if actual[label] else "",
        }
        for label, name in enumerate(names)
    ]


def by_network(
    probabilities: Iterable[Probabilities], labels: Labels, networks: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return a row of scores for each of an ensemble's ``networks``, as train describes them, from its ``probabilities``."""
    rows = []
    for about, own in zip(networks, probabilities, strict=True):
        scores = {"accuracy": accuracy(own, labels), "loss": cross_entropy(own, labels)}
        rounded = {name: round(value, 6) for name, value in scores.items()}
        errors = int((own.argmax(1) != labels).sum())
        rows.append({"network": about["network"], **rounded, "errors": errors, "parameters": about["parameters"]})
    return rows


def spread(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the mean, the lowest and the highest accuracy of the ``rows`` of `by_network`; nothing for a single network."""
    if len(rows) < 2:
        return {}
    accuracies = [row["accuracy"] for row in rows]
    mean = round(sum(accuracies) / len(accuracies), 6)
    return {"members_accuracy": mean, "members_lowest": min(accuracies), "members_highest": max(accuracies)}
