"""Test whether the inputs of a served model have the same distribution as its training data.

Numbers: the two-sample Kolmogorov-Smirnov test, by `scipy.stats.ks_2samp`. Categories: the chi-squared test of homogeneity,
by `scipy.stats.chi2_contingency`. With many features one of them may differ by chance, so each test's level is divided by
their number (Bonferroni).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, ks_2samp, kstwo

SIGNIFICANT = 0.01
"""Probability of reporting drift when there is none, over all features together."""

EXPECTED = 5
"""Smallest expected count of a category. Rarer ones are merged: the chi-squared approximation holds for larger counts."""

Values = NDArray[Any]


class Inputs(NamedTuple):
    """Measured inputs of a model, N of them."""

    features: dict[str, Values]
    """Numbers or, as strings, categories by the feature's name, each (N)."""
    embedding: NDArray[np.float32] | None
    """The network's features of pictures, (N, D)."""
    independent: int
    """The number of independent inputs, at most N. Hours of the same day depend on one another, so days are counted there."""
    examples: list[Any]
    """The inputs as a report shows them: N pictures, uint8 (H, W) or (H, W, 3), or N rows as dicts; empty for training."""


class FeatureDrift(NamedTuple):
    """How much the distribution of a feature differs from training's.

    ``statistic`` is from 0 to 1: the largest difference between the cumulative distributions, or for categories Cramér's V.
    ``p`` is the probability of at least this difference if both had the same distribution.
    """

    feature: str
    statistic: float
    p: float
    drifted: bool


def compare(
    captured: Mapping[str, Values], training: Mapping[str, Values], sizes: tuple[int, int] | None = None
) -> list[FeatureDrift]:
    """Return the test of each feature of ``captured``.

    ``sizes`` are the numbers of independent values in ``captured`` and ``training``; None: all are independent. The
    statistic is always computed from all values, p for samples of these sizes.
    """
    found = []
    for name, values in captured.items():
        test = _categories if values.dtype.kind == "U" else _numbers
        statistic, p = test(values, training[name], sizes or (len(values), len(training[name])))
        found.append(FeatureDrift(name, round(statistic, 4), round(p, 6), p < SIGNIFICANT / len(captured)))
    return found


def _numbers(ours: Values, theirs: Values, sizes: tuple[int, int]) -> tuple[float, float]:
    if sizes == (len(ours), len(theirs)):
        test = ks_2samp(ours, theirs)
        return float(test.statistic), float(test.pvalue)
    n, m = sizes
    test = ks_2samp(ours, theirs, method="asymp")  # only the statistic is used; the exact p of many values takes long
    return float(test.statistic), float(kstwo.sf(test.statistic, max(1, round(n * m / (n + m)))))


def _categories(ours: Values, theirs: Values, sizes: tuple[int, int]) -> tuple[float, float]:
    names = np.union1d(ours, theirs)
    counts = [[np.count_nonzero(values == name) for name in names] for values in (ours, theirs)]
    table = np.array([size * np.array(row) / sum(row) for size, row in zip(sizes, counts, strict=True)])
    rare = table.sum(0) * min(sizes) / sum(sizes) < EXPECTED
    table = np.column_stack([table[:, ~rare], table[:, rare].sum(1)]) if rare.any() else table
    if table.shape[1] < 2 or (table.sum(0) == 0).any():
        return 0.0, 1.0
    test = chi2_contingency(table, correction=False)
    return float(np.sqrt(test.statistic / table.sum())), float(test.pvalue)
