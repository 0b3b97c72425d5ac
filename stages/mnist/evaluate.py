"""Score the trained network on the test images, which no earlier stage of the project uses.

Writes `metrics.json`, `details.json`, `confusion.csv` (one row per image), and in `evaluation/` the probabilities
(float32 (N, 10)) and the confusion matrix (one row per actual digit, one column per predicted digit).
"""

from pathlib import Path

import numpy as np
import torch

from stages.common import files
from stages.common.program import run
from stages.common.results import classification, evaluation
from stages.mnist.model import CLASSES, TRAINED, load, predict

FEATURES = Path("data/mnist/features")


def main() -> None:
    about = files.read_json(files.require(TRAINED, "train@mnist") / "network.json")
    with np.load(files.require(FEATURES, "featurize@mnist") / "test.npz") as test:
        images, labels = test["images"], test["labels"]
    probabilities = predict(load(measured=True), torch.from_numpy(images)).numpy()
    details = {
        "calibration_error": round(classification.calibration_error(probabilities, labels), 6),
        "parameters": about["parameters"],
    }
    source = files.read_json(FEATURES / "about.json")["source"]
    metrics = evaluation.write("mnist", source, probabilities, labels, CLASSES, details)
    print(f"accuracy {metrics['accuracy']:.4f}, loss {metrics['loss']:.4f} on {len(labels)} test images ({source})")


if __name__ == "__main__":
    run(main)
