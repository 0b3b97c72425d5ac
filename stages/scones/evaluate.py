"""Score the trained classifier on the test pictures, which training does not use.

Writes `metrics.json`, `details.json` (further metrics) and `confusion.csv` (one row per picture). Writes to
`evaluation/` the probabilities (float32 (N, classes)) and, as CSV, the confusion matrix, the accuracy at each level of
confidence, and each threshold's coverage and accuracy.
"""

from pathlib import Path

import numpy as np
import torch

from stages.common import config, files
from stages.common.program import run
from stages.common.results import classification, evaluation
from stages.common.results.classification import Labels, Probabilities
from stages.scones.config import Evaluate
from stages.scones.model import TRAINED, load, predict

FEATURES = Path("data/scones/features")


def coverage(probabilities: Probabilities, labels: Labels, threshold: float) -> tuple[float, float | None]:
    """Return the fraction of pictures with a confidence at or above ``threshold``, and their accuracy (None if there are none)."""
    covered = probabilities.max(1).astype(np.float64) >= threshold  # the workflow compares float64 from JSON
    right = probabilities.argmax(1) == labels
    return float(covered.mean()), float(right[covered].mean()) if covered.any() else None


def curve(probabilities: Probabilities, labels: Labels) -> list[dict[str, float | str]]:
    """Return `coverage` at each percent from the lowest possible confidence: threshold, coverage, accuracy (empty if None)."""
    rows: list[dict[str, float | str]] = []
    for percent in range(100 // probabilities.shape[1], 101):
        covered, accuracy = coverage(probabilities, labels, percent / 100)
        right = "" if accuracy is None else round(accuracy, 6)
        rows.append({"threshold": percent / 100, "coverage": round(covered, 6), "accuracy": right})
    return rows


def at_threshold(probabilities: Probabilities, labels: Labels, threshold: float) -> dict[str, float | None]:
    """Return the fraction and the accuracy of the pictures whose executions would succeed at ``threshold``."""
    covered, right = coverage(probabilities, labels, threshold)
    return {
        "threshold": threshold,
        "share_at_threshold": round(covered, 6),
        "accuracy_at_threshold": None if right is None else round(right, 6),
    }


def main() -> None:
    threshold = config.load("evaluate.scones", Evaluate).threshold
    about = files.read_json(files.require(TRAINED, "train@scones") / "network.json")
    names = about["classes"]
    with np.load(files.require(FEATURES, "featurize@scones") / "test.npz") as test:
        images, labels = test["images"], test["labels"]
    probabilities = predict(load(measured=True), torch.from_numpy(images)).numpy()
    details = {
        **at_threshold(probabilities, labels, threshold),
        "calibration_error": round(classification.calibration_error(probabilities, labels), 6),
        **{name: about[name] for name in ("temperature", "parameters", "parameters_trained")},
    }
    source = files.read_json(FEATURES / "about.json")["source"]
    tables = {"coverage.csv": curve(probabilities, labels)}
    metrics = evaluation.write("scones", source, probabilities, labels, names, details, tables)
    passed = f"{details['share_at_threshold']:.1%} of them at or above the threshold {threshold:g}"
    among = (
        "" if details["accuracy_at_threshold"] is None else f", {details['accuracy_at_threshold']:.1%} of those correct"
    )
    print(f"accuracy {metrics['accuracy']:.4f} on {len(labels)} test pictures ({source}), {passed}{among}")


if __name__ == "__main__":
    run(main)
