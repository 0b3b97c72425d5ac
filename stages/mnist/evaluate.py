"""Score the trained network on the test images, which no earlier stage of the project uses.

Writes `metrics.json`, `details.json`, `confusion.csv` (one row per image), and in `evaluation/` the probabilities
(float32 (N, 10)), the confusion matrix (one row per actual digit, one column per predicted digit), and `familiarity.npy`
(float64 (N)): by how much each image exceeds the limit for known ones. `members.csv` has the scores of each network by itself. It also measures how well letters and touching digits
are distinguished from digits; `known.csv` compares that with the energy of the classifier's logits
(https://arxiv.org/abs/2010.03759).
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.common import files
from stages.common.portable import Computing
from stages.common.program import run
from stages.common.results import classification, evaluation
from stages.common.vision import known
from stages.mnist.learning import judging, second, strangers
from stages.mnist.model import CLASSES, TRAINED, Classifier, load, mean_probabilities, predict

Scores = NDArray[np.float64]
Table = list[dict[str, Any]]

FEATURES = Path("data/mnist/features")


def recognition(
    classifier: Classifier, computing: Computing, images: Tensor, logits: Tensor, limit: float
) -> tuple[dict[str, Any], Table, Scores]:
    """Return metrics and a table of how digits, uint8 (N, 28, 28), differ from other shapes, and their familiarity (N).

    ``logits`` (networks, N, 10) are those of the digits.
    """
    network = second.load(computing)

    def scores(pictures: Tensor, logits: Tensor) -> dict[str, Scores]:
        mean = logits.mean(0).double().numpy()
        return {
            "second": judging.odds(predict(network, pictures).numpy()),
            "energy": np.logaddexp.reduce(mean, 1),  # torch's logsumexp rounds by the processor
        }

    own = scores(images, logits)
    made = {kind: torch.from_numpy(some) for kind, some in strangers.measuring(images.numpy()).items()}
    strange = {kind: scores(some, predict(classifier.logits, some)) for kind, some in made.items()}
    rows: Table = [
        {"method": method}
        | {f"auroc_{kind}": round(known.auroc(found, others[method]), 6) for kind, others in strange.items()}
        for method, found in own.items()
    ]
    familiarity = own["second"] - limit
    aurocs = {name: value for name, value in rows[0].items() if name != "method"}
    return {"refused_share": round(float((familiarity < 0).mean()), 6), **aurocs}, rows, familiarity


def main() -> None:
    networks = files.read_json(files.require(TRAINED, "train@mnist") / "network.json")["members"]
    with np.load(files.require(FEATURES, "featurize@mnist") / "test.npz") as test:
        images, labels = torch.from_numpy(test["images"]), test["labels"]
    classifier, limit = load(measured=True), files.read_json(TRAINED / second.LIMITS)["odds"]
    logits = predict(classifier.logits, images)
    probabilities = mean_probabilities(logits).numpy()
    judged, methods, familiarity = recognition(classifier, Computing(**networks[0]["computing"]), images, logits, limit)
    errors = int((probabilities.argmax(1) != labels).sum())
    members = classification.by_network(logits.softmax(2).numpy(), labels, networks)
    details = {
        **judged,
        "errors": errors,
        "calibration_error": round(classification.calibration_error(probabilities, labels), 6),
        "parameters": sum(network["parameters"] for network in networks),
        **classification.spread(members),
    }
    source = files.read_json(FEATURES / "about.json")["source"]
    tables, arrays = {"known.csv": methods, "members.csv": members}, {"familiarity.npy": familiarity}
    metrics = evaluation.write("mnist", source, probabilities, labels, CLASSES, details, tables, arrays)
    print(
        f"accuracy {metrics['accuracy']:.4f} ({errors} errors), loss {metrics['loss']:.4f} on {len(labels)} test images ({source})"
    )


if __name__ == "__main__":
    run(main)
