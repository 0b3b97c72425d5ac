"""Split a data set into parts."""

import numpy as np
from numpy.typing import NDArray


def stratified(labels: NDArray[np.integer], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Return a mask (N) of the examples to set aside: ``fraction`` of each label's, rounded, sampled by ``seed``."""
    random = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        chosen[random.permutation(own)[: round(fraction * len(own))]] = True
    return chosen
