"""What probabilities are worth: scores, calibration, confusions, and splits by class."""

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.common.results import classification

LABELS = np.array([3, 2, 8], np.uint8)


@pytest.fixture
def probabilities() -> NDArray[np.float32]:
    """One right answer, one that was taken for 5 with 2 second, one that was sure of 7 where 8 was right."""
    rows = np.zeros((3, 10), np.float32)
    rows[0, 3] = 1.0
    rows[1, [2, 5]] = 0.25, 0.75
    rows[2, 7] = 1.0
    return rows


def test_accuracy_counts_the_most_probable_classes(probabilities: NDArray[np.float32]) -> None:
    assert classification.accuracy(probabilities, LABELS) == pytest.approx(1 / 3)
    assert classification.accuracy(probabilities, LABELS, top=2) == pytest.approx(2 / 3)
    assert classification.accuracy(probabilities, LABELS, top=10) == 1.0


def test_cross_entropy_of_a_probability_of_zero_is_finite(probabilities: NDArray[np.float32]) -> None:
    expected = (0 + np.log(4) - np.log(np.finfo(np.float32).tiny)) / 3
    assert classification.cross_entropy(probabilities, LABELS) == pytest.approx(expected, abs=1e-5)


def test_the_confusion_matrix_has_a_row_for_each_actual_class(probabilities: NDArray[np.float32]) -> None:
    counts = classification.confusion_matrix(LABELS, probabilities.argmax(1), 10)
    assert counts.sum() == 3
    assert counts[3, 3] == counts[2, 5] == counts[8, 7] == 1


def test_precision_and_recall_of_each_class() -> None:
    rows = classification.by_class(np.array([[3, 1, 0], [1, 1, 0], [0, 0, 0]]), ["a", "b", "c"])
    assert rows[0] == {"class": "a", "images": 4, "precision": 0.75, "recall": 0.75}
    assert rows[1] == {"class": "b", "images": 2, "precision": 0.5, "recall": 0.5}
    assert rows[2] == {"class": "c", "images": 0, "precision": "", "recall": ""}


def test_who_is_as_often_right_as_sure_is_calibrated() -> None:
    sure = np.tile(np.array([[0.8, 0.2]], np.float32), (10, 1))
    assert classification.calibration_error(sure, np.array([0] * 8 + [1] * 2)) == pytest.approx(0.0, abs=1e-6)
    assert classification.calibration_error(sure, np.array([0] * 3 + [1] * 7)) == pytest.approx(0.5, abs=1e-6)


def test_reliability_has_a_row_for_each_confidence_there_is() -> None:
    rows = classification.reliability(np.array([[0.8, 0.2], [0.81, 0.19], [0.0, 1.0]], np.float32), np.array([0, 1, 1]))
    assert [(row["images"], row["accuracy"]) for row in rows] == [(2, 0.5), (1, 1.0)]
    assert rows[-1] == {"from": round(14 / 15, 6), "to": 1.0, "images": 1, "confidence": 1.0, "accuracy": 1.0}
