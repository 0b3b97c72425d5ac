"""Find the digits in a picture: the ink on its ground, whatever the light, the paper and the colours.

A stroke is what a morphological closing of the picture fills: something narrow that is darker (or lighter) than what
surrounds it. Ink is measured relative to that ground (a top hat, Serra 1982), so slow changes of light and wide areas of
another tone, such as a desk, have no ink. A group of strokes is a digit if it stands alone: it is measured a second time
in its own surroundings, and everything in them must be ground.

scipy.ndimage does the work: SageMaker's image has it, which lacks scikit-image, and its results do not depend on the
processor, as OpenCV's do. Exported models contain this file, so it imports only numpy and scipy.
"""

import itertools
from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

FAINTEST = 0.065
"""Contrast, as a fraction of the ground's brightness, below which there is no ink: such contrast comes from the paper."""

DARKEST = 64.0
"""The least brightness that a contrast is relative to: on black, noise would be a strong contrast."""

NOISE = 4.0
"""Ink's contrast is at least so many standard deviations of the noise."""

WIDEST = (0.35, 0.15, 0.07)
"""Sizes of the closing, as fractions of the picture's longer side: strokes are narrower."""

CUTS = (0.45, 0.65)
"""Fractions of the strongest contrast from which a pixel is ink. The higher one is for ink in shadows and on rulings."""

DEPTH = 2
"""How many layers of other things around a digit may be removed, less one: a desk's edge, then a frame."""

MARGIN = 0.2
"""Width of a digit's surroundings, as a fraction of its longer side."""

LINE, THIN = 0.75, 0.05
"""A ruling or a frame: at least as long, at most as thick, as fractions of the picture's side."""

GAP = 0.12
"""Strokes of a digit are closer to each other than this fraction of its height."""

SMALLEST = 12
"""Height in pixels, after reduction, below which a digit can't be read."""

MOST = 64
"""Strokes that are looked at, the largest first: noise has thousands."""

NARROW = 3.5
"""Size of the closing around a digit, in widths of its stroke: wider shadows that touch it are no ink."""

STRAY, OTHERS = 0.3, 0.15
"""From this fraction of the strongest contrast there is something in a digit's surroundings, and its limit, as a fraction
of the digit's ink."""

GROUND = 0.45
"""At least this fraction of a digit's surroundings is ground, not ink, frame or line."""

CLEAN = 0.75
"""At least this fraction of the ink belongs to digits. A scene or a texture has ink everywhere."""

EVEN = 0.6
"""The faintest tenth of the middle of the strokes has at least this fraction of the strongest contrast."""

THICKEST, FULLEST = 0.4, 0.72
"""Limits of a digit's stroke, as a fraction of its height, and of its ink, as a fraction of its box. Of MNIST's digits one
in a thousand has more ink."""

SMALL = 80
"""Pixels of the longer side below which a picture is enlarged: its strokes have only a few pixels."""

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


class Digit(NamedTuple):
    """The ``ink`` of a digit, and which fraction of its surroundings is ``ground``."""

    ink: Floats
    ground: float


def inks(picture: Bytes) -> list[Floats]:
    """Return the ink of each digit in ``picture``, RGBA uint8 (H, W, 4), from left to right.

    Each is float32 (h, w), 0 on the ground, at most 1. Raises NoDigitError.
    """
    reasons = [BLANK]
    for view in _views(picture):
        tones = _enlarged(view) if max(view.shape) < SMALL else view
        noise = _noise(tones)
        if noise > 2:
            side = 3 if noise < 8 else 5
            tones, noise = ndimage.uniform_filter(tones, side, mode="nearest"), noise / side
        scenes = [
            Scene(shown, max(FAINTEST, NOISE * noise / max(DARKEST, float(np.median(shown)))))
            for shown in (tones, 255 - tones)
        ]
        contrasts = [
            [_contrast(scene.tones, max(3, round(size * max(scene.tones.shape)))) for scene in scenes]
            for size in WIDEST
        ]
        if all(contrasts[0][side].max() < scene.faintest for side, scene in enumerate(scenes)):
            continue
        for depth, each, cut in itertools.product(range(DEPTH), contrasts, CUTS):
            found = []
            for scene, contrast in zip(scenes, each, strict=True):
                try:
                    found.append(_standing_alone(scene, contrast, cut, depth))
                except NoDigitError as error:
                    reasons.append(str(error))
            if found:
                best = max(found, key=lambda digits: min(digit.ground for digit in digits))
                return [digit.ink for digit in best]
        try:
            return [_filling(scenes)]
        except NoDigitError as error:
            reasons.append(str(error))
    raise NoDigitError(max(reasons, key=lambda reason: (reason != BLANK, reasons.count(reason))))


class Scene(NamedTuple):
    """``tones``: float32 (H, W), 0 to 255, in which ink is darker than its ground. ``faintest``: the least contrast of ink."""

    tones: Floats
    faintest: float


def _views(picture: Bytes) -> Iterator[Floats]:
    """Yield the brightness of ``picture``, then those of its colours that show more. float32 (H, W), 0 to 255."""
    colours, alpha = picture[..., :3].astype(np.float32), picture[..., 3:].astype(np.float32) / 255
    if alpha.min() < 1:
        seen = _brightness(colours)[alpha[..., 0] > 0.5]
        ground = 0 if seen.size and np.median(seen) > 127 else 255  # so that the ink, which can be seen, has contrast
        colours = colours * alpha + np.float32(ground) * (1 - alpha)
    grey = _brightness(colours)
    yield grey
    spread = [float(channel.std()) for channel in np.moveaxis(colours, 2, 0)]
    for channel in np.argsort(spread, kind="stable")[::-1]:
        if spread[channel] > 1.3 * float(grey.std()) + 1:
            yield colours[..., channel]


def _enlarged(tones: Floats) -> Floats:
    """Return a small picture four times as large, on more of its ground if that is even, because its digit may touch the edge."""
    border = np.concatenate([tones[0], tones[-1], tones[:, 0], tones[:, -1]])
    ground = float(np.median(border))
    if (np.abs(border - ground) <= 16).mean() > 0.7:
        tones = np.pad(tones, max(2, max(tones.shape) // 8), constant_values=ground)
    return np.asarray(ndimage.zoom(tones, 4, order=1, mode="nearest", grid_mode=True), np.float32)


def _brightness(colours: Floats) -> Floats:
    red, green, blue = np.moveaxis(colours, 2, 0)  # not a product of matrices, whose rounding depends on the processor
    return red * np.float32(0.299) + green * np.float32(0.587) + blue * np.float32(0.114)


def _noise(tones: Floats) -> float:
    """Return the standard deviation of the noise (Immerkaer 1996, https://doi.org/10.1006/cviu.1996.0060, with a median)."""
    if min(tones.shape) < 3:
        return 0.0
    rows = tones[:-2] - 2 * tones[1:-1] + tones[2:]
    second = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    return float(np.median(np.abs(second))) / (6 * 0.6745)


def _contrast(tones: Floats, size: int) -> Floats:
    """Return how much darker each pixel is than its ground, as a fraction of the ground's brightness."""
    ground = ndimage.grey_closing(tones, size=(size, size), mode="nearest")
    return np.asarray((ground - tones) / np.maximum(ground, DARKEST), np.float32)


def _standing_alone(scene: Scene, contrast: Floats, cut: float, depth: int) -> list[Digit]:
    """Return the digits that don't touch the picture's edge, after removing ``depth`` times what does. Raises NoDigitError."""
    for remaining in range(depth, -1, -1):
        peak = float(contrast.max())
        if peak < scene.faintest:
            raise NoDigitError(BLANK)
        mask = contrast >= max(cut * peak, scene.faintest)
        lines = _lines(mask)
        labels, strokes = _strokes(mask & ~lines)
        if sum(stroke.area for stroke in strokes) < 0.1 * lines.sum():  # a straight 1
            lines = np.zeros_like(lines)
            labels, strokes = _strokes(mask)
        outer = [stroke for stroke in strokes if _is_frame(stroke, strokes, mask.shape)]
        around = lines | _pixels(labels, outer)
        if remaining:
            if not around.any():
                raise NoDigitError(UNCLEAR)
            contrast = np.where(ndimage.binary_dilation(around, EIGHT, 3), 0, contrast)
    inner = [stroke for stroke in strokes if stroke not in outer]
    groups = _groups(inner)
    if sum(stroke.area for group in groups for stroke in group) <= CLEAN * sum(stroke.area for stroke in inner):
        raise NoDigitError(UNCLEAR)
    digits = [_pixels(labels, group) for group in groups]
    all_digits = np.logical_or.reduce(digits)
    return [_confirmed(scene, contrast, digit, around | (all_digits & ~digit), cut) for digit in digits]


def _strokes(mask: Mask) -> tuple[NDArray[np.int32], list[Stroke]]:
    labels, count = ndimage.label(mask, EIGHT)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    found = ndimage.find_objects(labels)
    boxes = [Box(rows.start, columns.start, rows.stop, columns.stop) for rows, columns in found]
    strokes = [Stroke(number + 1, box, int(areas[number + 1])) for number, box in enumerate(boxes)]
    return labels, sorted(strokes, key=lambda stroke: -stroke.area)[:MOST]


def _pixels(labels: NDArray[np.int32], strokes: Collection[Stroke]) -> Mask:
    """Return where ``labels`` has one of ``strokes``."""
    chosen = np.zeros(int(labels.max()) + 1, bool)
    chosen[[stroke.label for stroke in strokes]] = True
    return np.asarray(chosen[labels], np.bool_)


def _is_frame(stroke: Stroke, strokes: list[Stroke], shape: tuple[int, ...]) -> bool:
    """Return whether ``stroke`` touches the picture's edge, or is drawn around other large strokes."""
    box = stroke.box
    if box.top == 0 or box.left == 0 or box.bottom == shape[0] or box.right == shape[1]:
        return True
    if stroke.area > 0.3 * box.height * box.width:
        return False
    inside = [other for other in strokes if other is not stroke and box.around(other.box) == box]
    return any(other.area > 0.15 * stroke.area and other.box.height > 0.2 * box.height for other in inside)


def _groups(strokes: list[Stroke]) -> list[list[Stroke]]:
    """Group strokes that belong to one digit. Specks are left out. The groups are in order, from left to right."""
    largest = max((stroke.area for stroke in strokes), default=0)
    groups: list[list[Stroke]] = []
    for stroke in sorted(strokes, key=lambda one: -one.area):
        if stroke.area < 0.03 * largest:
            continue
        near = [group for group in groups if _belongs(stroke, group)]
        groups = [group for group in groups if group not in near]
        groups.append([one for group in near for one in group] + [stroke])
    mass = [sum(stroke.area for stroke in group) for group in groups]
    groups = [group for group, area in zip(groups, mass, strict=True) if area > 0.15 * max(mass)]
    return sorted(groups, key=lambda group: _box(group).left)


def _belongs(stroke: Stroke, group: list[Stroke]) -> bool:
    """Return whether ``stroke`` is close to ``group``, and not a digit beside it."""
    whole, box = _box(group), stroke.box
    if whole.gap(box) > GAP * max(whole.height, box.height):
        return False
    beside = min(whole.right, box.right) <= max(whole.left, box.left)
    return not beside or min(whole.height, box.height) < 0.7 * max(whole.height, box.height)


def _box(strokes: list[Stroke]) -> Box:
    box = strokes[0].box
    for stroke in strokes[1:]:
        box = box.around(stroke.box)
    return box


def _lines(mask: Mask) -> Mask:
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
    padded = np.pad(mask.astype(np.uint8), length)
    shrunk = ndimage.minimum_filter1d(padded, length, axis)
    grown = ndimage.maximum_filter1d(shrunk, length, axis, origin=-1 if length % 2 == 0 else 0)
    return grown[length:-length, length:-length] > 0


def _confirmed(scene: Scene, before: Floats, proposed: Mask, foreign: Mask, cut: float) -> Digit:
    """Measure a digit in its own surroundings. Raises NoDigitError if it does not stand alone there, or looks different.

    ``proposed``: its pixels. ``before``: their contrast. ``foreign``: the pixels of lines, frames and other digits.
    """
    rows, columns = (np.flatnonzero(proposed.any(axis)) for axis in (1, 0))
    height, width = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
    if max(height, width) < SMALLEST:
        raise NoDigitError(UNCLEAR)
    margin = max(2, round(MARGIN * max(height, width)))
    window = np.s_[
        max(0, rows[0] - margin) : rows[-1] + 1 + margin, max(0, columns[0] - margin) : columns[-1] + 1 + margin
    ]
    proposed, before = proposed[window], before[window]
    _require_strokes(proposed)
    stroke = _stroke_width(proposed)
    foreign = ndimage.binary_dilation(foreign[window], EIGHT, 2) & ~proposed
    contrast = _contrast(scene.tones[window], max(5, round(NARROW * stroke)))
    contrast = np.where(foreign, 0, contrast)
    peak = float(np.percentile(contrast[proposed], 90))
    if peak < max(scene.faintest, 0.7 * float(np.percentile(before[proposed], 90))):
        raise NoDigitError(UNCLEAR)
    mask = contrast >= max(cut * peak, scene.faintest)
    if (mask & proposed).sum() < 0.7 * proposed.sum():
        raise NoDigitError(UNCLEAR)
    numbers, strokes = _strokes(mask)
    seen = set(np.unique(numbers[proposed & mask]).tolist())
    edge = set(np.unique(np.concatenate([numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]])).tolist())
    own = [stroke for stroke in strokes if stroke.label in seen]
    if any(stroke.label in edge for stroke in own):
        raise NoDigitError(UNCLEAR)
    digit = _pixels(numbers, own)
    _require_strokes(digit)
    ground = 1 - float((mask | foreign).mean())
    if ground < GROUND or np.percentile(contrast[digit & _middle(digit)], 10) < EVEN * peak:
        raise NoDigitError(UNCLEAR)
    whole = ndimage.binary_dilation(digit, EIGHT, max(1, round(stroke / 2)))
    stray = (contrast >= max(STRAY * peak, scene.faintest)) & ~whole
    if stray.sum() > OTHERS * digit.sum():
        raise NoDigitError(UNCLEAR)
    ink = np.where(whole, contrast, 0)
    return Digit((ink / peak).clip(0, 1), ground)


def _depth(mask: Mask) -> NDArray[np.float64]:
    """Return each pixel's distance to the nearest one outside ``mask``."""
    return ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]


def _middle(mask: Mask) -> Mask:
    """Return the pixels in the middle of the strokes of ``mask``."""
    depth = _depth(mask)
    return mask & (depth == ndimage.maximum_filter(depth, 3))


def _stroke_width(mask: Mask) -> float:
    """Return the median width of the strokes in pixels."""
    return 2 * float(np.median(_depth(mask)[_middle(mask)]))


def _require_strokes(mask: Mask) -> None:
    """Raise NoDigitError if the form of ``mask`` is not that of a digit's strokes."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height, width = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
    if width > 2.3 * height:
        raise NoDigitError("what is drawn is too wide for one digit")
    if height < 2.5 * width:
        inscribed = 2 * float(_depth(mask).max())
        if inscribed > THICKEST * height or mask.sum() > FULLEST * height * width:
            raise NoDigitError("what is drawn is an area, not the strokes of a digit")


def _filling(scenes: list[Scene]) -> Floats:
    """Return the ink of a digit that is cropped so tightly that it touches the picture's edge. Raises NoDigitError."""
    best: tuple[float, Floats, Mask] | None = None
    for scene in scenes:
        ink, paper = (float(np.percentile(scene.tones, part)) for part in (2, 98))
        contrast = ((paper - scene.tones) / max(paper - ink, 1)).clip(0, 1)
        mask = contrast > 0.5
        border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean()
        even = ((contrast < 0.25) | (contrast > 0.75)).mean()
        if (
            paper - ink > max(0.2, scene.faintest) * max(paper, DARKEST)
            and even > 0.7
            and (best is None or border < best[0])
        ):
            best = float(border), contrast, mask
    if best is None or best[0] > 0.4:
        raise NoDigitError(UNCLEAR)
    _, contrast, mask = best
    labels, strokes = _strokes(mask)
    mask = _pixels(labels, [stroke for stroke in strokes if stroke.area > 0.03 * strokes[0].area])
    for axis, side in ((1, mask.shape[0]), (0, mask.shape[1])):
        used = np.flatnonzero(mask.any(axis))
        if used[0] > 0.06 * side or used[-1] < side - 1 - 0.06 * side:
            raise NoDigitError(UNCLEAR)
    if len(strokes) > 12 or sum(stroke.area > 0.03 * strokes[0].area for stroke in strokes) > 3 or _lines(mask).any():
        raise NoDigitError(UNCLEAR)
    _require_strokes(mask)
    return contrast


BLANK = "the picture is blank: expected a digit that contrasts with its background"
UNCLEAR = "no single digit can be told from the rest of the picture: expected one digit on an even background, with space around it"
