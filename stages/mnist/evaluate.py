"""Score the trained network on the test images, which no earlier stage of the project uses.

Writes `metrics.json`, `details.json`, `confusion.csv` (one row per image), and in `evaluation/` the probabilities
(float32 (N, 10)) and the confusion matrix (one row per actual digit, one column per predicted digit).
"""

from pathlib import Path

import numpy as np
import torch

from stages.common import classification, files
from stages.common.program import run
from stages.mnist.model import CLASSES, TRAINED, load, predict

FEATURES = Path("data/mnist/features")
METRICS = Path("reports/mnist/metrics.json")
DETAILS = Path("reports/mnist/details.json")
EVALUATION = Path("reports/mnist/evaluation")
CONFUSION = Path("reports/mnist/confusion.csv")


def main() -> None:
    classifier = load(files.require(TRAINED, "train@mnist"), measured=True)
    with np.load(files.require(FEATURES, "featurize@mnist") / "test.npz") as test:
        images, labels = test["images"], test["labels"]
    probabilities = predict(classifier, torch.from_numpy(images)).numpy()
    predicted = probabilities.argmax(1)
    metrics = {
        "data": files.read_json(FEATURES / "about.json")["source"],
        "accuracy": round(classification.accuracy(probabilities, labels), 6),
        "loss": round(classification.cross_entropy(probabilities, labels), 6),
    }
    counts = classification.confusion_matrix(labels, predicted, len(CLASSES))
    with files.new_folder(EVALUATION) as folder:
        np.save(folder / "probabilities.npy", probabilities)
        matrix = [
            {"actual": digit} | dict(zip(CLASSES, row, strict=True)) for digit, row in zip(CLASSES, counts, strict=True)
        ]
        files.write_table(folder / "confusion_matrix.csv", matrix)
    with files.new_file(CONFUSION) as partial:
        rows = [{"actual": actual, "predicted": taken} for actual, taken in zip(labels, predicted, strict=True)]
        files.write_table(partial, rows)
    files.write_json(METRICS, metrics)
    files.write_json(DETAILS, {"parameters": sum(weights.numel() for weights in classifier.parameters())})
    print(
        f"accuracy {metrics['accuracy']:.4f}, loss {metrics['loss']:.4f} on {len(labels)} test images ({metrics['data']})"
    )


if __name__ == "__main__":
    run(main)
