"""Group strokes of ink into digits: find frames, strokes that belong to one digit, and forms that can't be digits.

Exported models contain this file, so it imports only numpy and scipy.
"""

from itertools import chain, combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

try:
    import ink_strokes  # type: ignore[import-not-found]
except ImportError:  # in the project, not in the export
    from stages.mnist.ink import ink_strokes

Mask = NDArray[np.bool_]

GAP = 0.12
"""Strokes of a digit are closer to each other than this fraction of its height."""

STRAY = 0.3
"""A pixel with at least this fraction of the strongest contrast is not ground."""

LONGEST = 32
"""Largest number of digits that are read in one picture."""

BLANK = "the picture is blank: expected a digit that contrasts with its background"
UNCLEAR = "no single digit stands out from the rest of the picture: expected one digit on an even background, with space around it"
TOO_MANY = f"the picture has more than {LONGEST} digits: send fewer in one picture"
MARKS = "the picture has a mark beside the digits, such as a point, a plus or a minus: expected digits only"
LEFT_OVER = "the picture has more ink beside the digits that may belong to the number: expected digits of one size and strength, away from the edge"
TOO_WIDE = "the drawing is too wide for one digit"
AREA = "the drawing is a filled area, not the strokes of a digit"
SEVERAL_LINES = "the picture has digits in several lines: send one line in a picture"

FAINT = 0.12
"""Ink beside the digits with at least this fraction of their contrast may belong to the number."""

CORNER = 0.3
"""Size of the corners of a plus, as a fraction of its sides. One in 1,500 of MNIST's digits has four empty ones."""

NOISE = 4
"""More faint strokes than this for each of the digits' are noise or a texture, not digits."""

SMALLER = 0.2
"""Ink beside the digits with more than this fraction of their height may belong to the number."""

SPECK = 0.02
"""A stroke with at most this fraction of the largest stroke's ink is dirt."""

THICKEST, FULLEST = 0.4, 0.72
"""Limits of a digit's stroke, as a fraction of its height, and of its ink, as a fraction of its box. Of MNIST's digits one
in a thousand has more ink."""


class NoDigitError(ValueError):
    """There is no digit, or it does not stand out from the rest of the picture. The message gives the reason."""

    status_code = 422
    code = "no_digit"


def is_frame(stroke: ink_strokes.Stroke, strokes: list[ink_strokes.Stroke], shape: tuple[int, ...]) -> bool:
    """Return whether ``stroke`` touches the picture's edge, or is drawn around other large strokes."""
    box = stroke.box
    if box.top == 0 or box.left == 0 or box.bottom == shape[0] or box.right == shape[1]:
        return True
    if stroke.area > 0.3 * box.height * box.width:
        return False
    inside = (other for other in strokes if other is not stroke and box.holds(other.box))
    return any(other.area > 0.15 * stroke.area and other.box.height > 0.2 * box.height for other in inside)


def groups_of(strokes: list[ink_strokes.Stroke]) -> list[list[ink_strokes.Stroke]]:
    """Group strokes that belong to one digit. Specks are left out. The groups are in order, from left to right."""
    largest = max((stroke.area for stroke in strokes), default=0)
    groups: list[list[ink_strokes.Stroke]] = []
    for stroke in sorted(strokes, key=lambda one: -one.area):
        if stroke.area >= 0.03 * largest:
            near = [group for group in groups if _belongs(stroke.box, ink_strokes.box_of(group))]
            groups = [group for group in groups if group not in near] + [[*chain(*near), stroke]]
    mass = [sum(stroke.area for stroke in group) for group in groups]
    groups = [group for group, area in zip(groups, mass, strict=True) if area > 0.15 * max(mass)]
    return sorted(groups, key=lambda group: ink_strokes.box_of(group).left)


def require_line(
    groups: list[list[ink_strokes.Stroke]], strokes: list[ink_strokes.Stroke], labels: NDArray[np.int32]
) -> None:
    """Raise NoDigitError unless ``groups`` are digits in a line, without a point or a minus among the other ``strokes``.

    Refused are too many digits, digits below others (they have no order from left to right), and a plus, which networks
    take for a 4. ``labels`` has the strokes' pixels.
    """
    if len(groups) > LONGEST:
        raise NoDigitError(TOO_MANY)
    if any(_is_plus(stroke, labels) for group in groups for stroke in group):
        raise NoDigitError(MARKS)
    boxes = [ink_strokes.box_of(group) for group in groups]
    for one, other in combinations(boxes, 2):
        beside = min(one.right, other.right) - max(one.left, other.left) <= 0.5 * min(one.width, other.width)
        if not beside and min(one.bottom, other.bottom) <= max(one.top, other.top):
            raise NoDigitError(SEVERAL_LINES)
    line = ink_strokes.box_of([stroke for group in groups for stroke in group])
    digits = {stroke.label for group in groups for stroke in group}
    largest = max(stroke.area for group in groups for stroke in group)
    others = [stroke for stroke in strokes if stroke.label not in digits and stroke.area > SPECK * largest]
    if any(_is_mark(stroke.box, line, len(groups) > 1) for stroke in others):
        raise NoDigitError(MARKS)


def _is_plus(stroke: ink_strokes.Stroke, labels: NDArray[np.int32]) -> bool:
    """Return whether ``stroke`` is a horizontal and a vertical line through its middle, with empty corners."""
    box = stroke.box
    cross = labels[box.top : box.bottom, box.left : box.right] == stroke.label
    height, width = cross.shape
    if not 0.5 < width / height < 2:
        return False
    down, right = (max(1, round(CORNER * side)) for side in cross.shape)
    corners = [cross[:down, :right], cross[:down, -right:], cross[-down:, :right], cross[-down:, -right:]]
    middle = cross[down:-down].any(0).mean(), cross[:, right:-right].any(1).mean()
    return bool(min(middle) > 0.95 and max(corner.mean() for corner in corners) < 0.05)


def _is_mark(box: ink_strokes.Box, line: ink_strokes.Box, several: bool) -> bool:
    """Return whether the mark in ``box`` changes the number in ``line``: a point between digits, or a minus."""
    middle = (box.top + box.bottom) / 2
    if not line.top < middle < line.bottom + 0.1 * line.height:
        return False
    if several and line.left < (box.left + box.right) / 2 < line.right:
        return True
    dash = box.width > 2 * box.height and 0.2 * line.height < box.width < line.height
    return bool(dash and 0.25 < (middle - line.top) / line.height < 0.75 and box.gap(line) < line.height)


def _belongs(box: ink_strokes.Box, whole: ink_strokes.Box) -> bool:
    """Return whether the stroke in ``box`` is close to the group in ``whole``, and not a digit beside it."""
    apart = max(whole.top - box.bottom, box.top - whole.bottom, whole.left - box.right, box.left - whole.right)
    if apart > GAP * max(whole.height, box.height):
        return False
    beside = min(whole.right, box.right) <= max(whole.left, box.left)
    if beside and box.top > whole.top + 0.55 * whole.height:  # a point or a comma
        return False
    return not beside or min(whole.height, box.height) < 0.7 * max(whole.height, box.height)


def require_all_read(contrast: NDArray[np.float32], digits: Mask, faintest: float, cut: float) -> None:
    """Raise NoDigitError if the picture has ink beside ``digits`` that may belong to their number.

    Such ink is fainter or smaller than the digits, or touches the picture's edge, so that it was taken for a speck, a shadow, a
    frame or a line.
    """
    ((rows, columns),) = ndimage.find_objects(digits.astype(np.uint8))
    line = ink_strokes.Box(rows.start, columns.start, rows.stop, columns.stop)
    peak = float(np.percentile(contrast[digits], 90))
    thick, own = ink_strokes.stroke_width(digits), ink_strokes.connected(digits)[1]
    outside = ~ndimage.binary_dilation(digits, ink_strokes.EIGHT, max(2, round(thick / 2)))
    for part in (cut, FAINT):
        mask = contrast >= max(part * peak, faintest)
        lines = ink_strokes.lines_of(mask)
        for ink in (mask & ~lines, lines):
            labels, strokes = ink_strokes.connected(ink & outside)
            strokes = [stroke for stroke in strokes if stroke.area > SPECK * own[0].area]
            if part == FAINT and len(strokes) > NOISE * len(own):
                continue
            if any(_like_digit(stroke, labels, line, thick) for stroke in strokes):
                raise NoDigitError(LEFT_OVER)


def _like_digit(stroke: ink_strokes.Stroke, labels: NDArray[np.int32], line: ink_strokes.Box, thick: float) -> bool:
    """Return whether ``stroke`` may be a digit of the number in ``line``, whose strokes are ``thick``."""
    box = stroke.box
    if not SMALLER * line.height < box.height < 1.5 * line.height or box.gap(line) > 1.5 * line.height:
        return False
    if min(box.bottom, line.bottom) - max(box.top, line.top) < 0.5 * box.height:
        return False
    mask = labels[box.top : box.bottom, box.left : box.right] == stroke.label
    return flaw(mask) is None and ink_strokes.stroke_width(mask) > 0.3 * thick


def flaw(mask: Mask) -> str | None:
    """Return why the form of ``mask`` is not that of a digit's strokes, or None if it is."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height, width = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
    if width > 2.3 * height:
        return TOO_WIDE
    if height < 2.5 * width:
        inscribed = 2 * float(ink_strokes.depth_of(mask).max())
        if inscribed > THICKEST * height or mask.sum() > FULLEST * height * width:
            return AREA
    return None


class Seen(NamedTuple):
    """The strokes in a ``contrast``, with their ``labels``. ``inner`` strokes neither touch nor frame the picture.

    ``around`` are the pixels of the other strokes and of lines.
    """

    contrast: NDArray[np.float32]
    labels: NDArray[np.int32]
    strokes: list[ink_strokes.Stroke]
    inner: list[ink_strokes.Stroke]
    around: Mask


def seen(contrast: NDArray[np.float32], faintest: float, cut: float) -> Seen:
    """Return the strokes with at least the fraction ``cut`` of the strongest contrast, and at least ``faintest``.

    Raises NoDigitError if there is no ink.
    """
    peak = float(contrast.max())
    if peak < faintest:
        raise NoDigitError(BLANK)
    mask = contrast >= max(cut * peak, faintest)
    lines = ink_strokes.lines_of(contrast >= max(STRAY * peak, faintest))
    labels, strokes = ink_strokes.connected(mask & ~lines)
    if sum(stroke.area for stroke in strokes) < 0.1 * lines.sum():  # a straight 1
        lines = np.zeros_like(lines)
        labels, strokes = ink_strokes.connected(mask)
    outer = [stroke for stroke in strokes if is_frame(stroke, strokes, mask.shape)]
    inner = [stroke for stroke in strokes if stroke not in outer]
    return Seen(contrast, labels, strokes, inner, lines | ink_strokes.pixels(labels, outer))


def without_frame(seen: Seen) -> NDArray[np.float32]:
    """Return the contrast without the pixels ``around``. Raises NoDigitError if there are none."""
    if not seen.around.any():
        raise NoDigitError(UNCLEAR)
    return np.where(ndimage.binary_dilation(seen.around, ink_strokes.EIGHT, 3), np.float32(0), seen.contrast)
