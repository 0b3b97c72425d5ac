"""Recognise pictures that resemble none of the training pictures, by a network's features and logits.

Each method gives a picture a score, which is higher the more familiar the picture is. A picture is known if its score
reaches a threshold, chosen so that nearly all validation pictures reach theirs. The methods are:

- `neighbours`: the cosine similarity to the fifth nearest training picture (https://arxiv.org/abs/2204.06507);
- `subspace`: minus the distance from the training features' 32 principal directions, which is the residual of
  https://arxiv.org/abs/2203.10807;
- `energy`: the logarithm of the sum of the logits' exponentials (https://arxiv.org/abs/2010.03759).

Exported models include this file, so it imports only numpy.
"""

from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Scores = NDArray[np.float64]
Arrays = Mapping[str, NDArray]
"""`bank` (N, D), `centre` (D) and `directions` (D, K) of the training pictures' features; once chosen, the `method`'s
index in METHODS, its `threshold`, and the `aurocs` (3) by which it was chosen. An export has only what its method needs."""

METHODS = ("neighbours", "subspace", "energy")
NEEDS: Mapping[str, tuple[str, ...]] = {"neighbours": ("bank",), "subspace": ("centre", "directions"), "energy": ()}

BANK = 1000
"""Largest number of training pictures whose features are kept."""

NEIGHBOUR, DIRECTIONS = 5, 32

FEW = 1
"""Number of validation pictures to be refused. From it on their quantile is trusted."""


def sampled(count: int) -> NDArray[np.int64]:
    """Return the indices, in order, of the training pictures whose features are kept, of ``count``.

    They are the same for all members of an ensemble, whatever their seeds: their features are put together.
    """
    return np.sort(np.random.default_rng(0).permutation(count)[:BANK])


def fit(bank: Floats) -> dict[str, NDArray]:
    """Return the arrays that the methods need, of the features (N, D) of training pictures."""
    bank = bank.astype(np.float16).astype(np.float32)  # an export stores half the bytes, and scores are the same
    centre = bank.mean(0)
    directions = np.linalg.svd(bank - centre, full_matrices=False)[2][: min(DIRECTIONS, len(bank) - 1)].T
    return {"bank": bank.astype(np.float16), "centre": centre, "directions": np.ascontiguousarray(directions)}


def score(method: str, arrays: Arrays, features: Floats, logits: Floats) -> Scores:
    """Return the scores (N) of pictures, from their features (N, D) and logits (N, classes)."""
    if method == "neighbours":
        alike = features @ arrays["bank"].astype(np.float32).T
        nearest = min(NEIGHBOUR, alike.shape[1])
        found = np.partition(alike, -nearest, axis=1)[:, -nearest].astype(np.float64)
    elif method == "subspace":
        apart = features - arrays["centre"]
        residual = apart - (apart @ arrays["directions"]) @ arrays["directions"].T
        found = -np.sqrt((residual.astype(np.float64) ** 2).sum(1))
    else:
        high = logits.astype(np.float64)
        top = high.max(1, keepdims=True)
        found = top[:, 0] + np.log(np.exp(high - top).sum(1))
    return found


def scores(arrays: Arrays, features: Floats, logits: Floats) -> Scores:
    """Return the scores by all methods, in the order of METHODS: (N, 3)."""
    return np.stack([score(method, arrays, features, logits) for method in METHODS], 1)


def auroc(known: Scores, unknown: Scores) -> float:
    """Return the probability that a known picture has a higher score than an unknown one: 1 is perfect, 0.5 is chance."""
    ordered = np.sort(known)
    above = len(ordered) - (np.searchsorted(ordered, unknown, "left") + np.searchsorted(ordered, unknown, "right")) / 2
    return float(above.mean() / len(ordered))


def choose(arrays: Arrays, valid: Scores, outliers: Scores, method: str, accepted: float) -> dict[str, NDArray]:
    """Return ``arrays`` with the method and its threshold.

    ``valid`` and ``outliers`` are the `scores` of validation pictures and of pictures of no class. The method is the
    one that tells them apart best, by `auroc`, unless ``method`` names it. ``accepted`` is the fraction of pictures
    such as the validation's that the threshold lets pass.
    """
    ranks = [auroc(valid[:, column], outliers[:, column]) for column in range(len(METHODS))]
    column = int(np.argmax(ranks)) if method == "best" else METHODS.index(method)
    limit = threshold(valid[:, column], accepted)
    return {**arrays, "aurocs": np.array(ranks), "method": np.array(column), "threshold": np.array(limit)}


def threshold(valid: Scores, accepted: float) -> float:
    """Return the score that the fraction ``accepted`` of pictures such as the validation's reaches.

    It is the quantile of ``valid``. Few validation pictures do not show how low others of their kind score; then it is
    the lower of that and of the quantile of a normal distribution.
    """
    quantile = float(np.quantile(valid, 1 - accepted, method="lower"))
    if len(valid) * (1 - accepted) >= FEW:
        return quantile
    return min(quantile, float(valid.mean() + NormalDist().inv_cdf(1 - accepted) * valid.std()))


def read(path: Path) -> dict[str, NDArray]:
    """Return the arrays stored at ``path``."""
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def method(arrays: Arrays) -> str:
    """Return the chosen method."""
    return METHODS[int(arrays["method"])]


def chosen(arrays: Arrays) -> dict[str, NDArray]:
    """Return the ``arrays`` that the chosen method needs."""
    return {name: arrays[name] for name in ("method", "threshold", *NEEDS[method(arrays)])}


def familiarity(arrays: Arrays, features: Floats, logits: Floats) -> Scores:
    """Return by how much each picture's score, by the chosen method, is above the threshold: negative if it is unknown."""
    return score(method(arrays), arrays, features, logits) - float(arrays["threshold"])
