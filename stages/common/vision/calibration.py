"""Temperature scaling (https://arxiv.org/abs/1706.04599): division of the log probabilities by one number, to calibrate confidences.

The temperature is fitted on the validation pictures, which are few, and most are classified correctly. So there are two
precautions. First, the true class's target is slightly below 1, by Laplace's rule (as in Platt's scaling); otherwise a
network without mistakes would get full confidence everywhere. Second, the temperature is used only if it helps on
pictures that it was not fitted on.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

Logits = NDArray[np.float32]
Labels = NDArray[np.int64]

LOWEST, HIGHEST = 0.05, 20.0
FOLDS = 5


def loss(logits: Logits, labels: Labels, temperature: float, doubt: float = 0.0) -> float:
    """Return the mean cross-entropy in nats of ``logits`` (N, classes) / ``temperature``, with ``doubt`` spread over classes."""
    likelihoods = log_softmax(logits.astype(np.float64) / temperature, axis=1)
    own = likelihoods[np.arange(len(labels)), labels]
    return float(-((1 - doubt) * own + doubt * likelihoods.mean(1)).mean())


def best(logits: Logits, labels: Labels) -> float:
    """Return the temperature with the lowest loss. The true class's target is (N + 1) / (N + classes)."""
    count, classes = logits.shape
    doubt = classes / (count + classes)
    bounds = (np.log(LOWEST), np.log(HIGHEST))
    found = minimize_scalar(lambda log: loss(logits, labels, np.exp(log), doubt), bounds=bounds, method="bounded")
    return round(float(np.exp(found.x)), 4)


def fit(probabilities: NDArray[np.float32], labels: Labels) -> float:
    """Return the best temperature for ``probabilities`` (N, classes), whose logarithms it divides.

    It is 1 if in 5-fold cross-validation the fitted temperatures do not lower the loss.
    """
    logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    folds = np.arange(len(labels)) % FOLDS
    held_out = 0.0
    for fold in np.unique(folds):
        own = folds == fold
        if not own.all():
            held_out += own.sum() * loss(logits[own], labels[own], best(logits[~own], labels[~own]))
    return best(logits, labels) if held_out < len(labels) * loss(logits, labels, 1.0) else 1.0


def validated(probabilities: NDArray[np.float32], labels: Labels) -> dict[str, float]:
    """Return the temperature for ``probabilities`` (N, classes) of validation pictures, and their accuracy."""
    right = probabilities.argmax(1) == labels
    return {"temperature": fit(probabilities, labels), "valid_accuracy": round(float(right.mean()), 6)}
