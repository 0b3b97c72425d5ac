"""Find several landmarks in one photograph: squares of several sizes to classify, and which of them to keep.

Exported models include this file, so it imports only numpy.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.int64]
"""Squares in pixels of the photograph: left, top, right, bottom (N, 4)."""

SIZES = (1, 2 / 3, 1 / 2, 1 / 3)
"""Sides of the squares, as fractions of the photograph's shorter side."""

STEP = 1 / 3
"""Largest distance of neighbouring squares, as a fraction of their side."""

MOST = 96
"""Largest number of squares. Sizes that would make more are left out, and the first one never does: see `images.MAX_ASPECT`."""

OVERLAP = 0.1
"""Part of the smaller one of two squares that the other may cover, if both are kept."""


def propose(height: int, width: int) -> Boxes:
    """Return the squares to classify, the largest first."""
    found: list[tuple[int, int, int, int]] = []
    for size in SIZES:
        side = max(1, round(size * min(height, width)))
        more = [(left, top, left + side, top + side) for top in _places(height, side) for left in _places(width, side)]
        if len(found) + len(more) > MOST:
            break
        found += more
    return np.array(found, np.int64)


def _places(length: int, side: int) -> Iterator[int]:
    """Yield where squares of ``side`` begin, so that they cover ``length``."""
    gaps = math.ceil((length - side) / (STEP * side))
    for place in range(gaps + 1):
        yield round(place * (length - side) / max(1, gaps))


def keep(boxes: NDArray[np.float64], scores: NDArray[np.float64]) -> list[int]:
    """Return which squares show a landmark each, from left to right: those with the highest scores that hardly overlap.

    ``boxes`` are left, top, right, bottom (N, 4), in any unit. ``scores`` (N): a negative one is never kept.
    """
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        if scores[index] >= 0 and all(_covered(boxes[index], boxes[other]) <= OVERLAP for other in kept):
            kept.append(int(index))
    return sorted(kept, key=lambda index: tuple(boxes[index]))


def _covered(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return which part of the smaller box the other one covers."""
    shared = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    smaller = min((box[2:] - box[:2]).prod() for box in (one, other))
    return float(shared.clip(0).prod() / smaller)
