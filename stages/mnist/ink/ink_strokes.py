"""Strokes in a mask of ink: connected areas and their boxes, straight lines, and how wide strokes are.

Exported models contain this file, so it imports only numpy and scipy.
"""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]

LINE, THIN = 0.75, 0.05
"""Smallest length and largest thickness of a ruling or a frame, as fractions of the picture's side."""

MOST = 64
"""Largest number of strokes that are examined, the largest first: noise has thousands."""

EIGHT = np.ones((3, 3), bool)


class Box(NamedTuple):
    """Rows and columns from ``top`` and ``left`` up to, not including, ``bottom`` and ``right``."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    def gap(self, other: "Box") -> int:
        """Return the distance in pixels, 0 if they overlap."""
        down = max(self.top, other.top) - min(self.bottom, other.bottom)
        right = max(self.left, other.left) - min(self.right, other.right)
        return max(down, right, 0)

    def holds(self, other: "Box") -> bool:
        rows = self.top <= other.top and other.bottom <= self.bottom
        return rows and self.left <= other.left and other.right <= self.right


class Stroke(NamedTuple):
    """A connected area of ink: its number in the labels, its box and its pixels."""

    label: int
    box: Box
    area: int


def connected(mask: Mask) -> tuple[NDArray[np.int32], list[Stroke]]:
    labels, count = ndimage.label(mask, EIGHT)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    strokes = [
        Stroke(number, Box(rows.start, columns.start, rows.stop, columns.stop), int(areas[number]))
        for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1)
    ]
    return labels, sorted(strokes, key=lambda stroke: -stroke.area)[:MOST]


def pixels(labels: NDArray[np.int32], strokes: Collection[Stroke]) -> Mask:
    """Return the mask of the pixels whose ``labels`` belong to ``strokes``."""
    chosen = np.zeros(int(labels.max()) + 1, bool)
    chosen[[stroke.label for stroke in strokes]] = True
    return np.asarray(chosen[labels], np.bool_)


def box_of(strokes: list[Stroke]) -> Box:
    tops, lefts, bottoms, rights = zip(*(stroke.box for stroke in strokes), strict=True)
    return Box(min(tops), min(lefts), max(bottoms), max(rights))


def lines_of(mask: Mask) -> Mask:
    """Return the pixels of ruling lines and of frames: long, thin, and horizontal or vertical."""
    found = np.zeros_like(mask)
    for axis in (0, 1):
        length, thickest = round(LINE * mask.shape[axis]), max(2, round(THIN * mask.shape[1 - axis]))
        wider = ndimage.maximum_filter1d(mask, 3, 1 - axis)  # a line may be slightly turned
        if wider.sum(axis).max() < length:
            continue
        long = _opened(wider, length, axis) & mask
        if long.any():
            found |= long & ~_opened(mask, thickest + 1, 1 - axis)  # strokes that cross a line stay
    return found


def _opened(mask: Mask, length: int, axis: int) -> Mask:
    """Return the runs of at least ``length`` pixels along ``axis``."""
    values = mask.astype(np.uint8)
    shrunk = ndimage.minimum_filter1d(values, length, axis, mode="constant")
    grown = ndimage.maximum_filter1d(shrunk, length, axis, mode="constant", origin=-1 if length % 2 == 0 else 0)
    return np.asarray(grown > 0, np.bool_)


def depth_of(mask: Mask) -> NDArray[np.float64]:
    """Return each pixel's distance to the nearest pixel outside ``mask``. To save time, compute it only around the mask."""
    depth = np.zeros(mask.shape)
    if mask.any():
        ((rows, columns),) = ndimage.find_objects(mask.astype(np.uint8))
        depth[rows, columns] = ndimage.distance_transform_edt(np.pad(mask[rows, columns], 1))[1:-1, 1:-1]
    return depth


def middle(depth: NDArray[np.float64]) -> Mask:
    """Return the pixels in the middle of the strokes whose ``depth`` `depth_of` gives."""
    return np.asarray((depth > 0) & (depth == ndimage.maximum_filter(depth, 3)), np.bool_)


def stroke_width(mask: Mask) -> float:
    """Return the median width of the strokes in pixels."""
    depth = depth_of(mask)
    return 2 * float(np.median(depth[middle(depth)]))
