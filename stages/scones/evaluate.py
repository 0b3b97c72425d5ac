"""Score the trained classifier on the test pictures, which training does not use.

Writes `metrics.json`, `details.json` (further metrics) and `confusion.csv` (one row per picture). Writes to
`evaluation/` the probabilities (float32 (N, classes)) and, as CSV, the confusion matrix, the accuracy at each level of
confidence, each threshold's coverage and accuracy, and how well each method recognises other pictures; `familiarity.npy`
(float64 (N)) has by how much each picture's score exceeds the threshold. `members.csv` has the scores of each network of an
ensemble by itself, without calibration.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.common import config, files
from stages.common.program import run
from stages.common.results import classification, evaluation
from stages.common.results.classification import Labels, Probabilities
from stages.common.vision import classifiers, known, recognition
from stages.common.vision.recognition import Pixels
from stages.scones.config import Evaluate
from stages.scones.model import BATCH, KNOWN, TRAINED, load, squares

FEATURES = Path("data/scones/features")


def coverage(probabilities: Probabilities, labels: Labels, threshold: float) -> tuple[float, float | None]:
    """Return the fraction of pictures with a confidence at or above ``threshold``, and their accuracy (None if there are none)."""
    covered = probabilities.max(1).astype(np.float64) >= threshold  # the workflow compares float64 from JSON
    right = probabilities.argmax(1) == labels
    return float(covered.mean()), float(right[covered].mean()) if covered.any() else None


def curve(probabilities: Probabilities, labels: Labels) -> list[dict[str, Any]]:
    """Return `coverage` at each percent from the lowest possible confidence: threshold, coverage, accuracy (empty if None)."""
    rows: list[dict[str, Any]] = []
    for percent in range(100 // probabilities.shape[1], 101):
        covered, accuracy = coverage(probabilities, labels, percent / 100)
        right = "" if accuracy is None else round(accuracy, 6)
        rows.append({"threshold": percent / 100, "coverage": round(covered, 6), "accuracy": right})
    return rows


def main() -> None:
    threshold = config.load("evaluate.scones", Evaluate).threshold
    about = files.read_json(files.require(TRAINED, "train@scones") / "network.json")
    names = about["classes"]
    with np.load(files.require(FEATURES, "featurize@scones") / "test.npz") as test:
        images, labels = test["images"], test["labels"]
    classifier, arrays = load(measured=True), known.read(TRAINED / KNOWN)

    def batched(pictures: Pixels) -> Iterator[Tensor]:
        yield from torch.from_numpy(pictures).split(BATCH)

    probabilities, scores = classifiers.measure(classifier.inspect, batched(images), arrays)
    others, methods = recognition.measured(classifier.inspect, batched, arrays, classifier.side, scores)
    members = []
    if len(about["members"]) > 1:
        alone = classifiers.alone(classifier, squares(torch.from_numpy(images)).split(BATCH))
        members = classification.by_network(alone, labels, about["members"])
    own = scores[:, int(arrays["method"])] - arrays["threshold"]
    familiar = own >= 0  # the executions of other pictures fail, whatever their confidence is
    covered, right = coverage(probabilities[familiar], labels[familiar], threshold) if familiar.any() else (0.0, None)
    details = {
        "threshold": threshold,
        "share_at_threshold": round(covered * float(familiar.mean()), 6),
        "accuracy_at_threshold": None if right is None else round(right, 6),
        **others,
        "calibration_error": round(classification.calibration_error(probabilities, labels), 6),
        **{name: about[name] for name in ("temperature", "valid_accuracy")},
        **{name: sum(one[name] for one in about["members"]) for name in ("parameters", "parameters_trained")},
        **classification.spread(members),
    }
    source = files.read_json(FEATURES / "about.json")["source"]
    tables: dict[str, list[dict[str, Any]]] = {"coverage.csv": curve(probabilities, labels), "known.csv": methods}
    if members:
        tables["members.csv"] = members
    metrics = evaluation.write(
        "scones", source, probabilities, labels, names, details, tables, {"familiarity.npy": own}
    )
    passed = f"{details['share_at_threshold']:.1%} of them known and at or above the threshold {threshold:g}"
    among = "" if right is None else f", {right:.1%} of those correct"
    print(f"accuracy {metrics['accuracy']:.4f} on {len(labels)} test pictures ({source}), {passed}{among}")


if __name__ == "__main__":
    run(main)
