"""Write the results of a classifier's evaluation, in the same files for every project."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.common import files
from stages.common.results import classification


def write(
    project: str,
    source: str,
    probabilities: classification.Probabilities,
    labels: classification.Labels,
    names: Sequence[str],
    details: Mapping[str, Any],
    tables: Mapping[str, Sequence[Mapping[str, object]]] | None = None,
    arrays: Mapping[str, NDArray] | None = None,
) -> dict[str, Any]:
    """Write the results of ``project`` on its test set below reports/<project>, and return its metrics.

    ``source`` names the data, ``names`` are those of the classes. `metrics.json` has accuracy and loss,
    `details.json` the ``details``, `confusion.csv` one row per example. `evaluation/` has the probabilities, float32 (N, classes), and as
    CSV the confusion matrix, precision and recall of each class, accuracy by confidence, and further ``tables`` and
    ``arrays`` by name.
    """
    reports, predicted = Path("reports", project), probabilities.argmax(1)
    counts = classification.confusion_matrix(labels, predicted, len(names))
    matrix = [{"actual": name, **dict(zip(names, row, strict=True))} for name, row in zip(names, counts, strict=True)]
    metrics = {
        "data": source,
        "accuracy": round(classification.accuracy(probabilities, labels), 6),
        "loss": round(classification.cross_entropy(probabilities, labels), 6),
    }
    own = {
        "confusion_matrix.csv": matrix,
        "classes.csv": classification.by_class(counts, list(names)),
        "reliability.csv": classification.reliability(probabilities, labels),
    }
    with files.new_folder(reports / "evaluation") as folder:
        for name, array in {"probabilities.npy": probabilities, **(arrays or {})}.items():
            np.save(folder / name, array)
        for name, rows in {**own, **(tables or {})}.items():
            files.write_table(folder / name, rows)
    with files.new_file(reports / "confusion.csv") as partial:
        pairs = zip(labels, predicted, strict=True)
        files.write_table(partial, [{"actual": names[one], "predicted": names[other]} for one, other in pairs])
    files.write_json(reports / "metrics.json", metrics)
    files.write_json(reports / "details.json", dict(details))
    return metrics
