"""What probabilities are worth: scores, calibration, confusions, and splits by class."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.text import Text
from scipy.special import softmax

from stages.common.results import classification, figures, reporting
from stages.common.vision import calibration
from stages.landmarks.model import Predictor


def test_accuracy_cross_entropy_and_confusions() -> None:
    """Of one right answer, one that was taken for 5 with 2 second, one that was sure of 7 where 8 was right."""
    probabilities, labels = np.zeros((3, 10), np.float32), np.array([3, 2, 8], np.uint8)
    probabilities[[0, 1, 1, 2], [3, 2, 5, 7]] = 1.0, 0.25, 0.75, 1.0
    for top, right in ((1, 1 / 3), (2, 2 / 3), (10, 1.0)):
        assert classification.accuracy(probabilities, labels, top) == pytest.approx(right)
    finite = (0 + np.log(4) - np.log(np.finfo(np.float32).tiny)) / 3  # though a probability is 0
    assert classification.cross_entropy(probabilities, labels) == pytest.approx(finite, abs=1e-5)
    counts = classification.confusion_matrix(labels, probabilities.argmax(1), 10)
    assert counts.sum() == 3
    assert counts[3, 3] == counts[2, 5] == counts[8, 7] == 1


def test_precision_and_recall_of_each_class() -> None:
    rows = classification.by_class(np.array([[3, 1, 0], [1, 1, 0], [0, 0, 0]]), ["a", "b", "c"])
    expected = [("a", 4, 0.75, 0.75), ("b", 2, 0.5, 0.5), ("c", 0, "", "")]
    assert rows == [dict(zip(("class", "images", "precision", "recall"), row, strict=True)) for row in expected]


def test_accuracy_equal_to_confidence_is_no_calibration_error() -> None:
    sure = np.tile(np.array([[0.8, 0.2]], np.float32), (10, 1))
    assert classification.calibration_error(sure, np.array([0] * 8 + [1] * 2)) == pytest.approx(0.0, abs=1e-6)
    assert classification.calibration_error(sure, np.array([0] * 3 + [1] * 7)) == pytest.approx(0.5, abs=1e-6)


def test_reliability_has_a_row_for_each_bin_with_images() -> None:
    rows = classification.reliability(np.array([[0.8, 0.2], [0.81, 0.19], [0.0, 1.0]], np.float32), np.array([0, 1, 1]))
    assert [(row["images"], row["accuracy"]) for row in rows] == [(2, 0.5), (1, 1.0)]
    assert rows[-1] == {"from": round(14 / 15, 6), "to": 1.0, "images": 1, "confidence": 1.0, "accuracy": 1.0}


@pytest.mark.parametrize("name", [r"$\frac{1}$", r"$\alpha$", "$", "a $x^1$ b", r"\$x\$"])
def test_text_in_a_plot_is_never_a_formula(tmp_path: Path, name: str) -> None:
    figure = figures.confusion(name, name, np.array([[3, 1], [0, 2]]), [name, "b"])
    reporting.save(figure, tmp_path / "confusion.png")
    texts = figure.findobj(Text)
    assert name in [text.get_text() for text in texts]
    assert not any(text.get_parse_math() for text in texts)


@pytest.mark.parametrize(("low", "high", "labels"), [(0.001, 10, {"0.01", "0.1", "1"}), (0.2, 0.7, {"0.3", "0.6"})])
def test_a_logarithmic_axis_has_plain_labels(low: float, high: float, labels: set[str]) -> None:
    figure, axis = plt.subplots()
    axis.plot([low, high], [1, 2])
    axis.set_xscale("log")
    reporting.plain(axis.xaxis)
    figure.canvas.draw()
    shown = {text.get_text() for text in axis.get_xticklabels(which="both")}
    plt.close(figure)
    assert labels <= shown
    assert "$" not in "".join(shown)


def test_temperature_makes_confidences_hold() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 1.5, (4000, 2)).astype(np.float32)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (random.random(4000) > shares[:, 0]).astype(np.int64)  # as likely as the logits say
    for factor, tolerance in ((1, 0.05), (3, 0.15), (0.25, 0.02)):
        assert calibration.fit(softmax(factor * logits, 1), labels) == pytest.approx(factor, abs=tolerance)


def test_a_network_without_a_mistake_is_not_called_certain() -> None:
    labels = np.arange(40) % 2
    logits = np.where(np.eye(2)[labels] == 1, np.float32(1), np.float32(-1))
    confidence = 1 / (1 + np.exp(-2 / calibration.fit(softmax(logits, 1), labels)))
    assert confidence == pytest.approx(41 / 42, abs=0.002)  # Laplace's rule


def test_a_temperature_that_does_not_help_elsewhere_is_left_out() -> None:
    logits = np.array([[3, 0], [3, 0], [3, 0], [0, 3], [3, 0]], np.float32)
    assert calibration.fit(softmax(logits, 1), np.array([0, 0, 0, 0, 1])) != 1
    assert calibration.fit(np.full((10, 2), 0.5, np.float32), np.arange(10) % 2) == 1  # no temperature changes anything


def test_a_temperature_keeps_the_order_of_a_predictors_probabilities() -> None:
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0], [0.3, 0.3, 0.4]])
    predictor = Predictor([], 40, temperature=0.5)
    sharper = predictor.calibrated(probabilities)
    assert sharper[0].tolist() == pytest.approx([0.49 / 0.54, 0.04 / 0.54, 0.01 / 0.54])  # squares
    assert torch.equal(sharper.argsort(dim=1, stable=True), probabilities.argsort(dim=1, stable=True))
    assert sharper.sum(1).tolist() == pytest.approx([1, 1, 1])
    assert torch.isfinite(Predictor([], 40, temperature=0.05).calibrated(torch.full((1, 100), 0.01))).all()
