"""Score the trained network on the test images, which no earlier stage of the project uses.

Writes `metrics.json`, `details.json`, `confusion.csv` (one row per image), and in `evaluation/` the probabilities
(float32 (N, 10)), the confusion matrix (one row per actual digit, one column per predicted digit), and `familiarity.npy`
(float64 (N)): by how much each image exceeds the limit for known ones. It also measures how well letters and touching digits
are distinguished from digits; `known.csv` compares that with the energy of the classifier's logits
(https://arxiv.org/abs/2010.03759).
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stages.common import files
from stages.common.portable import Computing
from stages.common.program import run
from stages.common.results import classification, evaluation
from stages.common.vision import known
from stages.mnist.learning import judging, second, strangers
from stages.mnist.model import CLASSES, TRAINED, Classifier, load, normalise, predict

Bytes = NDArray[np.uint8]
Scores = NDArray[np.float64]
Table = list[dict[str, Any]]

FEATURES = Path("data/mnist/features")


def recognition(classifier: Classifier, images: Bytes, limit: float) -> tuple[dict[str, Any], Table, Scores]:
    """Return metrics and a table of how digits, uint8 (N, 28, 28), differ from other shapes, and their familiarity (N)."""
    network = second.load(Computing(**files.read_json(TRAINED / "network.json")["computing"]))

    def scores(pictures: Bytes) -> dict[str, Scores]:
        found = torch.from_numpy(pictures)
        logits = predict(lambda batch: classifier.network(normalise(batch)), found)
        return {
            "second": judging.odds(predict(network, found).numpy()),
            "energy": np.logaddexp.reduce(logits.double().numpy(), 1),  # torch's logsumexp rounds by the processor
        }

    own = scores(images)
    strange = {kind: scores(made) for kind, made in strangers.measuring(images).items()}
    rows: Table = [
        {"method": method}
        | {f"auroc_{kind}": round(known.auroc(found, others[method]), 6) for kind, others in strange.items()}
        for method, found in own.items()
    ]
    familiarity = own["second"] - limit
    aurocs = {name: value for name, value in rows[0].items() if name != "method"}
    return {"refused_share": round(float((familiarity < 0).mean()), 6), **aurocs}, rows, familiarity


def main() -> None:
    about = files.read_json(files.require(TRAINED, "train@mnist") / "network.json")
    with np.load(files.require(FEATURES, "featurize@mnist") / "test.npz") as test:
        images, labels = test["images"], test["labels"]
    classifier, limit = load(measured=True), files.read_json(TRAINED / second.LIMITS)["odds"]
    probabilities = predict(classifier, torch.from_numpy(images)).numpy()
    judged, methods, familiarity = recognition(classifier, images, limit)
    details = {
        **judged,
        "calibration_error": round(classification.calibration_error(probabilities, labels), 6),
        "parameters": about["parameters"],
    }
    source = files.read_json(FEATURES / "about.json")["source"]
    tables, arrays = {"known.csv": methods}, {"familiarity.npy": familiarity}
    metrics = evaluation.write("mnist", source, probabilities, labels, CLASSES, details, tables, arrays)
    print(f"accuracy {metrics['accuracy']:.4f}, loss {metrics['loss']:.4f} on {len(labels)} test images ({source})")


if __name__ == "__main__":
    run(main)
