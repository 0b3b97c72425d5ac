"""Score the trained predictor on the test photographs, which training does not use.

Writes `metrics.json`, `details.json` (further metrics) and `confusion.csv` (one row per photograph). Writes to
`evaluation/` the probabilities (float32 (N, classes)) and, as CSV, the confusion matrix, each class's precision and
recall, and the accuracy at each level of confidence.
"""

from pathlib import Path

import numpy as np

from stages.common import classification, files
from stages.common.program import run
from stages.landmarks import model
from stages.landmarks.model import TRAINED
from stages.landmarks.store import Store

FEATURES = Path("data/landmarks/features")
METRICS = Path("reports/landmarks/metrics.json")
DETAILS = Path("reports/landmarks/details.json")
EVALUATION = Path("reports/landmarks/evaluation")
CONFUSION = Path("reports/landmarks/confusion.csv")


def main() -> None:
    about = files.read_json(files.require(TRAINED, "train@landmarks") / "network.json")
    names = [place["name"] for place in about["classes"]]
    test = Store(files.require(FEATURES, "featurize@landmarks"), "test")
    probabilities, labels = model.classify(model.load(measured=True), test).numpy(), test.labels.numpy()
    predicted = probabilities.argmax(1)
    confusion = classification.confusion_matrix(labels, predicted, len(names))
    metrics = {
        "data": files.read_json(FEATURES / "about.json")["source"],
        "accuracy": round(classification.accuracy(probabilities, labels), 6),
        "loss": round(classification.cross_entropy(probabilities, labels), 6),
    }
    details = {
        "top5_accuracy": round(classification.accuracy(probabilities, labels, 5), 6),
        "calibration_error": round(classification.calibration_error(probabilities, labels), 6),
        "parameters": sum(member["parameters"] for member in about["members"]),
        "parameters_trained": sum(member["parameters_trained"] for member in about["members"]),
    }
    with files.new_folder(EVALUATION) as folder:
        np.save(folder / "probabilities.npy", probabilities)
        files.write_table(folder / "reliability.csv", classification.reliability(probabilities, labels))
        files.write_table(folder / "classes.csv", classification.by_class(confusion, names))
        matrix = [
            {"actual": name, **dict(zip(names, row, strict=True))} for name, row in zip(names, confusion, strict=True)
        ]
        files.write_table(folder / "confusion_matrix.csv", matrix)
    with files.new_file(CONFUSION) as partial:
        rows = [{"actual": names[a], "predicted": names[p]} for a, p in zip(labels, predicted, strict=True)]
        files.write_table(partial, rows)
    files.write_json(METRICS, metrics)
    files.write_json(DETAILS, details)
    print(
        f"accuracy {metrics['accuracy']:.4f}, top 5 {details['top5_accuracy']:.4f}, loss {metrics['loss']:.4f} "
        f"on {len(labels)} test photographs ({metrics['data']})"
    )


if __name__ == "__main__":
    run(main)
