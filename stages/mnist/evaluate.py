"""Scores the trained network on the test images: the first time that anything of the row looks at them.

Writes `metrics.json`, a row an image in `confusion.csv`, and in `evaluation/` the probabilities (float32 (N, 10)) and the
confusion matrix (a row for each actual digit, a column for each predicted one).
"""

import csv
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stages.common import files
from stages.common.program import run
from stages.mnist.model import CLASSES, TRAINED, load, predict

FEATURES = Path("data/mnist/features")
METRICS = Path("reports/mnist/metrics.json")
EVALUATION = Path("reports/mnist/evaluation")
CONFUSION = Path("reports/mnist/confusion.csv")


def scores(probabilities: NDArray[np.float32], labels: NDArray[np.uint8]) -> dict[str, float]:
    """Accuracy in [0, 1] and mean cross-entropy in nats, to six places."""
    right = probabilities.argmax(1) == labels
    # A probability that underflows to 0 counts as the smallest float32.
    likelihood = probabilities[np.arange(len(labels)), labels].clip(np.finfo(np.float32).tiny).astype(np.float64)
    return {"accuracy": round(float(right.mean()), 6), "loss": round(float(-np.log(likelihood).mean()), 6)}


def confusion_matrix(labels: NDArray[np.uint8], predicted: NDArray[np.intp]) -> NDArray[np.intp]:
    """How often each actual digit (row) was taken for each digit (column): (10, 10)."""
    counts = np.zeros((len(CLASSES), len(CLASSES)), np.intp)
    np.add.at(counts, (labels, predicted), 1)
    return counts


def main() -> None:
    classifier = load(files.require(TRAINED, "train@mnist"))
    with np.load(files.require(FEATURES, "featurize@mnist") / "test.npz") as test:
        images, labels = test["images"], test["labels"]
    probabilities = predict(classifier, torch.from_numpy(images)).numpy()
    predicted = probabilities.argmax(1)
    metrics = {"data": files.read_json(FEATURES / "about.json")["source"], **scores(probabilities, labels)}
    with files.new_folder(EVALUATION) as folder:
        np.save(folder / "probabilities.npy", probabilities)
        write_table(
            folder / "confusion_matrix.csv",
            ["actual", *CLASSES],
            [[c, *row] for c, row in zip(CLASSES, confusion_matrix(labels, predicted), strict=True)],
        )
    with files.new_file(CONFUSION) as partial:
        write_table(partial, ["actual", "predicted"], np.stack([labels, predicted], 1).tolist())
    files.write_json(METRICS, metrics)
    print(
        f"accuracy {metrics['accuracy']:.4f}, loss {metrics['loss']:.4f} on {len(labels)} test images ({metrics['data']})"
    )


def write_table(path: Path, header: list[str], rows: list[list[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


if __name__ == "__main__":
    run(main)
