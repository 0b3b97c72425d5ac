"""Score the trained predictor on the test photographs, which training does not use.

Writes `metrics.json`, `details.json` (further metrics) and `confusion.csv` (one row per photograph). Writes to
`evaluation/` the probabilities (float32 (N, classes)) and, as CSV, the confusion matrix, each class's precision and
recall, the accuracy at each level of confidence, and how well each method recognises other pictures; `familiarity.npy`
(float64 (N)) has by how much each photograph's score exceeds the threshold. `members.csv` has the scores of each network of
an ensemble by itself, without calibration.
"""

from pathlib import Path

from stages.common import files
from stages.common.program import run
from stages.common.results import classification, evaluation
from stages.common.vision import classifiers, known, recognition
from stages.landmarks import model
from stages.landmarks.model import KNOWN, TRAINED
from stages.landmarks.store import Store

FEATURES = Path("data/landmarks/features")


def main() -> None:
    about = files.read_json(files.require(TRAINED, "train@landmarks") / "network.json")
    names = [place["name"] for place in about["classes"]]
    test = Store(files.require(FEATURES, "featurize@landmarks"), "test")
    predictor, arrays, labels = model.load(measured=True), known.read(TRAINED / KNOWN), test.labels.numpy()
    probabilities, scores = classifiers.measure(predictor.inspect, model.batches(predictor, test), arrays)
    others, methods = recognition.measured(predictor.inspect, model.squares, arrays, predictor.size, scores)
    members = []
    if len(about["members"]) > 1:
        alone = classifiers.alone(predictor, model.batches(predictor, test))
        members = classification.by_network(alone, labels, about["members"])
    details = {
        "top5_accuracy": round(classification.accuracy(probabilities, labels, 5), 6),
        "calibration_error": round(classification.calibration_error(probabilities, labels), 6),
        **others,
        **{name: about[name] for name in ("temperature", "valid_accuracy")},
        **{name: sum(one[name] for one in about["members"]) for name in ("parameters", "parameters_trained")},
        **classification.spread(members),
    }
    source = files.read_json(FEATURES / "about.json")["source"]
    tables = {"known.csv": methods} | ({"members.csv": members} if members else {})
    own = {"familiarity.npy": scores[:, int(arrays["method"])] - arrays["threshold"]}
    metrics = evaluation.write("landmarks", source, probabilities, labels, names, details, tables, own)
    figures = {"accuracy": metrics["accuracy"], "top 5": details["top5_accuracy"], "loss": metrics["loss"]}
    told = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
    print(f"{told} on {len(labels)} test photographs ({source})")


if __name__ == "__main__":
    run(main)
