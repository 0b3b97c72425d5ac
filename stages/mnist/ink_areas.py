"""Strokes in a mask of ink: connected areas, which of them are frames and lines, and which belong to one digit.

Exported models contain this file, so it imports only numpy and scipy.
"""

from collections.abc import Collection
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]

LINE, THIN = 0.75, 0.05
"""A ruling or a frame: at least as long, at most as thick, as fractions of the picture's side."""

GAP = 0.12
"""Strokes of a digit are closer to each other than this fraction of its height."""

STRAY = 0.3
"""From this fraction of the strongest contrast a pixel shows something."""

LONGEST = 32
"""Digits that are read in one picture."""

BLANK = "the picture is blank: expected a digit that contrasts with its background"
UNCLEAR = "no single digit can be told from the rest of the picture: expected one digit on an even background, with space around it"
TOO_MANY = f"the picture has more than {LONGEST} digits: send fewer in one picture"
MARKS = "the picture has a mark beside the digits, such as a point, a plus or a minus: expected digits only"
TOO_WIDE = "what is drawn is too wide for one digit"
AREA = "what is drawn is an area, not the strokes of a digit"
SEVERAL_LINES = "the picture has digits in several lines: send one line in a picture"

CORNER = 0.3
"""Size of the corners of a plus, as a fraction of its sides. One in 1,500 of MNIST's digits has four empty ones, a 4 like a plus."""

SPECK = 0.02
"""Fraction of the largest stroke's ink up to which another one is dirt."""

MOST = 64
"""Strokes that are looked at, the largest first: noise has thousands."""

THICKEST, FULLEST = 0.4, 0.72
"""Limits of a digit's stroke, as a fraction of its height, and of its ink, as a fraction of its box. Of MNIST's digits one
in a thousand has more ink."""

EIGHT = np.ones((3, 3), bool)


class NoDigitError(ValueError):
    """There is no digit, or it can't be told from the rest of the picture. The message says why."""

    status_code = 422
    code = "no_digit"


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

    def around(self, other: "Box") -> "Box":
        return Box(
            min(self.top, other.top),
            min(self.left, other.left),
            max(self.bottom, other.bottom),
            max(self.right, other.right),
        )


class Stroke(NamedTuple):
    """A connected area of ink: its number in the labels, its box and its pixels."""

    label: int
    box: Box
    area: int


def connected(mask: Mask) -> tuple[NDArray[np.int32], list[Stroke]]:
    labels, count = ndimage.label(mask, EIGHT)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    found = ndimage.find_objects(labels)
    boxes = [Box(rows.start, columns.start, rows.stop, columns.stop) for rows, columns in found]
    strokes = [Stroke(number + 1, box, int(areas[number + 1])) for number, box in enumerate(boxes)]
    return labels, sorted(strokes, key=lambda stroke: -stroke.area)[:MOST]


def pixels(labels: NDArray[np.int32], strokes: Collection[Stroke]) -> Mask:
    """Return where ``labels`` has one of ``strokes``."""
    chosen = np.zeros(int(labels.max()) + 1, bool)
    chosen[[stroke.label for stroke in strokes]] = True
    return np.asarray(chosen[labels], np.bool_)


def is_frame(stroke: Stroke, strokes: list[Stroke], shape: tuple[int, ...]) -> bool:
    """Return whether ``stroke`` touches the picture's edge, or is drawn around other large strokes."""
    box = stroke.box
    if box.top == 0 or box.left == 0 or box.bottom == shape[0] or box.right == shape[1]:
        return True
    if stroke.area > 0.3 * box.height * box.width:
        return False
    inside = (other for other in strokes if other is not stroke and box.holds(other.box))
    return any(other.area > 0.15 * stroke.area and other.box.height > 0.2 * box.height for other in inside)


def groups_of(strokes: list[Stroke]) -> list[list[Stroke]]:
    """Group strokes that belong to one digit. Specks are left out. The groups are in order, from left to right."""
    largest = max((stroke.area for stroke in strokes), default=0)
    boxed: list[tuple[Box, list[Stroke]]] = []
    for stroke in sorted(strokes, key=lambda one: -one.area):
        if stroke.area < 0.03 * largest:
            continue
        belongs = [_belongs(stroke.box, box) for box, _ in boxed]
        joined = [stroke for near, (_, group) in zip(belongs, boxed, strict=True) if near for stroke in group]
        boxed = [one for near, one in zip(belongs, boxed, strict=True) if not near]
        boxed.append((_box([*joined, stroke]), [*joined, stroke]))
    mass = [sum(stroke.area for stroke in group) for _, group in boxed]
    boxed = [one for one, area in zip(boxed, mass, strict=True) if area > 0.15 * max(mass)]
    return [group for _, group in sorted(boxed, key=lambda one: one[0].left)]


def require_line(groups: list[list[Stroke]], strokes: list[Stroke], labels: NDArray[np.int32]) -> None:
    """Raise NoDigitError unless ``groups`` are digits in a line, without a point or a minus among the other ``strokes``.

    There may not be too many digits to read, nor some below others, which have no order from left to right, nor a plus,
    which networks take for a 4. ``labels`` has the strokes' pixels.
    """
    if len(groups) > LONGEST:
        raise NoDigitError(TOO_MANY)
    if any(_is_plus(stroke, labels) for group in groups for stroke in group):
        raise NoDigitError(MARKS)
    boxes = [_box(group) for group in groups]
    for one, other in combinations(boxes, 2):
        beside = min(one.right, other.right) - max(one.left, other.left) <= 0.5 * min(one.width, other.width)
        if not beside and min(one.bottom, other.bottom) <= max(one.top, other.top):
            raise NoDigitError(SEVERAL_LINES)
    line = _box([stroke for group in groups for stroke in group])
    digits = {stroke.label for group in groups for stroke in group}
    largest = max(stroke.area for group in groups for stroke in group)
    others = [stroke for stroke in strokes if stroke.label not in digits and stroke.area > SPECK * largest]
    if any(_is_mark(stroke.box, line, len(groups) > 1) for stroke in others):
        raise NoDigitError(MARKS)


def _is_plus(stroke: Stroke, labels: NDArray[np.int32]) -> bool:
    """Return whether ``stroke`` is a horizontal and a vertical line through its middle, and nothing in the corners."""
    box = stroke.box
    cross = labels[box.top : box.bottom, box.left : box.right] == stroke.label
    height, width = cross.shape
    if not 0.5 < width / height < 2:
        return False
    down, right = (max(1, round(CORNER * side)) for side in cross.shape)
    corners = [cross[:down, :right], cross[:down, -right:], cross[-down:, :right], cross[-down:, -right:]]
    middle = cross[down:-down].any(0).mean(), cross[:, right:-right].any(1).mean()
    return bool(min(middle) > 0.95 and max(corner.mean() for corner in corners) < 0.05)


def _is_mark(box: Box, line: Box, several: bool) -> bool:
    """Return whether what is in ``box`` changes the number in ``line``: a point between digits, or a minus."""
    middle = (box.top + box.bottom) / 2
    if not line.top < middle < line.bottom + 0.1 * line.height:
        return False
    if several and line.left < (box.left + box.right) / 2 < line.right:
        return True
    dash = box.width > 2 * box.height and 0.2 * line.height < box.width < line.height
    return dash and 0.25 < (middle - line.top) / line.height < 0.75 and box.gap(line) < line.height


def _belongs(box: Box, whole: Box) -> bool:
    """Return whether the stroke in ``box`` is close to the group in ``whole``, and not a digit beside it."""
    apart = max(whole.top - box.bottom, box.top - whole.bottom, whole.left - box.right, box.left - whole.right)
    if apart > GAP * max(whole.height, box.height):
        return False
    beside = min(whole.right, box.right) <= max(whole.left, box.left)
    return not beside or min(whole.height, box.height) < 0.7 * max(whole.height, box.height)


def _box(strokes: list[Stroke]) -> Box:
    box = strokes[0].box
    for stroke in strokes[1:]:
        box = box.around(stroke.box)
    return box


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


def _depth(mask: Mask) -> NDArray[np.float64]:
    """Return each pixel's distance to the nearest one outside ``mask``. It is computed where the mask is: it takes long."""
    depth = np.zeros(mask.shape)
    if mask.any():
        ((rows, columns),) = ndimage.find_objects(mask.astype(np.uint8))
        depth[rows, columns] = ndimage.distance_transform_edt(np.pad(mask[rows, columns], 1))[1:-1, 1:-1]
    return depth


def _middle(mask: Mask, depth: NDArray[np.float64]) -> Mask:
    return np.asarray(mask & (depth == ndimage.maximum_filter(depth, 3)), np.bool_)


def middle(mask: Mask) -> Mask:
    """Return the pixels in the middle of the strokes of ``mask``."""
    return _middle(mask, _depth(mask))


def stroke_width(mask: Mask) -> float:
    """Return the median width of the strokes in pixels."""
    depth = _depth(mask)
    return 2 * float(np.median(depth[_middle(mask, depth)]))


def flaw(mask: Mask) -> str | None:
    """Return why the form of ``mask`` is not that of a digit's strokes, or None if it is."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height, width = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
    if width > 2.3 * height:
        return TOO_WIDE
    if height < 2.5 * width:
        inscribed = 2 * float(_depth(mask).max())
        if inscribed > THICKEST * height or mask.sum() > FULLEST * height * width:
            return AREA
    return None


class Seen(NamedTuple):
    """What a ``contrast`` shows: the ``labels`` of its ``strokes``, and which of them touch or frame the picture.

    ``around`` are the pixels of those, and of lines.
    """

    contrast: NDArray[np.float32]
    labels: NDArray[np.int32]
    strokes: list[Stroke]
    inner: list[Stroke]
    around: Mask


def seen(contrast: NDArray[np.float32], faintest: float, cut: float) -> Seen:
    """Return what shows with at least the fraction ``cut`` of the strongest contrast, and at least ``faintest``. Raises NoDigitError if nothing is seen."""
    peak = float(contrast.max())
    if peak < faintest:
        raise NoDigitError(BLANK)
    mask = contrast >= max(cut * peak, faintest)
    lines = lines_of(contrast >= max(STRAY * peak, faintest))
    labels, strokes = connected(mask & ~lines)
    if sum(stroke.area for stroke in strokes) < 0.1 * lines.sum():  # a straight 1
        lines = np.zeros_like(lines)
        labels, strokes = connected(mask)
    outer = [stroke for stroke in strokes if is_frame(stroke, strokes, mask.shape)]
    inner = [stroke for stroke in strokes if stroke not in outer]
    return Seen(contrast, labels, strokes, inner, lines | pixels(labels, outer))


def without_frame(seen: Seen) -> NDArray[np.float32]:
    """Return the contrast without what touches or frames the picture. Raises NoDigitError if there is nothing."""
    if not seen.around.any():
        raise NoDigitError(UNCLEAR)
    return np.where(ndimage.binary_dilation(seen.around, EIGHT, 3), np.float32(0), seen.contrast)
