"""Find the digits in a picture: the ink on its ground, whatever the light, the paper and the colours.

A stroke is what a morphological closing of the picture fills: something narrow that is darker (or lighter) than what
surrounds it. Ink is measured relative to that ground (a top hat, Serra 1982), so slow changes of light and wide areas of
another tone, such as a desk, have no ink. A group of strokes is a digit if it stands alone: it is measured a second time
in its own surroundings, and everything in them must be ground.

scipy.ndimage does the work: SageMaker's image has it, which lacks scikit-image, and its results do not depend on the
processor, as OpenCV's do. Exported models contain this file, so it imports only numpy and scipy.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

try:
    import ink_areas  # type: ignore[import-not-found]
except ImportError:  # in the project, not in the export
    from stages.mnist import ink_areas

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

SMALLEST = 12
"""Height in pixels, after reduction, below which a digit can't be read."""

NARROW = 3.5
"""Size of the closing around a digit, in widths of its stroke: wider shadows that touch it are no ink."""

OTHERS = 0.15
"""Limit of what else is in a digit's surroundings, see `ink_areas.STRAY`, as a fraction of the digit's ink."""

GROUND = 0.45
"""At least this fraction of a digit's surroundings is ground, not ink, frame or line."""

CLEAN = 0.75
"""At least this fraction of the ink belongs to digits. A scene or a texture has ink everywhere."""

EVEN = 0.6
"""The faintest tenth of the middle of the strokes has at least this fraction of the strongest contrast."""

PIECES = 2
"""A digit has at most so many. With more, parts of its strokes were lost, as in the shadow of a hand."""

FEW = 4
"""With more strokes than these, what is seen is a texture or noise, not something that was drawn with a wrong form."""

TRIES = 200
"""Groups of strokes that are measured in their surroundings, in all: a picture of 32 digits has 32, of texture thousands."""

SMALL = 80
"""Pixels of the longer side below which a picture is enlarged: its strokes have only a few pixels."""


class Digit(NamedTuple):
    """The ``ink`` of a digit, and which fraction of its surroundings is ``ground``."""

    ink: Floats
    ground: float


def inks(picture: Bytes) -> list[Floats]:
    """Return the ink of each digit in ``picture``, RGBA uint8 (H, W, 4), from left to right.

    Each is float32 (h, w), 0 on the ground, at most 1. Raises ink_areas.NoDigitError.
    """
    reasons, tries = [ink_areas.BLANK], iter(range(TRIES))
    for view in _views(picture):
        tones = _enlarged(view) if max(view.shape) < SMALL else view
        noise = _noise(tones)
        if noise > 2:
            side = 3 if noise < 8 else 5
            tones, noise = np.asarray(ndimage.uniform_filter(tones, side, mode="nearest"), np.float32), noise / side
        scenes = [
            Scene(shown, max(FAINTEST, NOISE * noise / max(DARKEST, float(np.median(shown)))))
            for shown in (tones, 255 - tones)
        ]
        contrasts = {WIDEST[0]: _contrasts(scenes, WIDEST[0])}  # the others only if this is not enough
        if all(one.max() < scene.faintest for scene, one in zip(scenes, contrasts[WIDEST[0]], strict=True)):
            continue
        seen: dict[tuple[int, float, float], ink_areas.Seen] = {}
        for _, size, cut in itertools.product(range(DEPTH), WIDEST, CUTS):
            if size not in contrasts:
                contrasts[size] = _contrasts(scenes, size)
            found = []
            for number, scene in enumerate(scenes):
                key = number, size, cut
                try:
                    contrast = ink_areas.without_frame(seen[key]) if key in seen else contrasts[size][number]
                    seen[key] = ink_areas.seen(contrast, scene.faintest, cut)
                    found.append(_standing_alone(scene, seen[key], cut, tries))
                except ink_areas.NoDigitError as error:
                    reasons.append(str(error))
            if found:
                best = max(found, key=lambda digits: min(digit.ground for digit in digits))
                return [digit.ink for digit in best]
        try:
            return [_filling(scenes)]
        except ink_areas.NoDigitError as error:
            reasons.append(str(error))
    told = (ink_areas.TOO_MANY, ink_areas.SEVERAL_LINES, ink_areas.MARKS, ink_areas.TOO_WIDE)
    raise ink_areas.NoDigitError(
        max(reasons, key=lambda reason: (reason != ink_areas.BLANK, reason in told, reasons.count(reason)))
    )


class Scene(NamedTuple):
    """``tones``: float32 (H, W), 0 to 255, in which ink is darker than its ground. ``faintest``: the least contrast of ink."""

    tones: Floats
    faintest: float


def _views(picture: Bytes) -> Iterator[Floats]:
    """Yield the brightness of ``picture``, then the colour that shows most, if it shows more. float32 (H, W), 0 to 255."""
    colours, alpha = picture[..., :3].astype(np.float32), picture[..., 3:].astype(np.float32) / 255
    if alpha.min() < 1:
        seen = _brightness(colours)[alpha[..., 0] > 0.5]
        ground = 0 if seen.size and np.median(seen) > 127 else 255  # so that the ink, which can be seen, has contrast
        colours = np.asarray(colours * alpha + ground * (1 - alpha), np.float32)
    grey = _brightness(colours)
    yield grey
    spread = [float(channel.std()) for channel in np.moveaxis(colours, 2, 0)]
    most = int(np.argsort(spread, kind="stable")[-1])
    if spread[most] > 1.3 * float(grey.std()) + 1:
        yield colours[..., most]


def _enlarged(tones: Floats) -> Floats:
    """Return a small picture four times as large, on more of its ground if that is even, because its digit may touch the edge."""
    border = np.concatenate([tones[0], tones[-1], tones[:, 0], tones[:, -1]])
    ground = float(np.median(border))
    if (np.abs(border - ground) <= 16).mean() > 0.7:
        tones = np.pad(tones, max(2, max(tones.shape) // 8), constant_values=ground)
    return np.asarray(ndimage.zoom(tones, 4, order=1, mode="nearest", grid_mode=True), np.float32)


def _brightness(colours: Floats) -> Floats:
    red, green, blue = np.moveaxis(colours, 2, 0)  # not a product of matrices, whose rounding depends on the processor
    return np.asarray(red * np.float32(0.299) + green * np.float32(0.587) + blue * np.float32(0.114), np.float32)


def _noise(tones: Floats) -> float:
    """Return the standard deviation of the noise (Immerkaer 1996, https://doi.org/10.1006/cviu.1996.0060, with a median)."""
    if min(tones.shape) < 3:
        return 0.0
    rows = tones[:-2] - 2 * tones[1:-1] + tones[2:]
    second = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    return float(np.median(np.abs(second))) / (6 * 0.6745)


def _contrasts(scenes: list[Scene], part: float) -> list[Floats]:
    """Return the contrasts of ``scenes`` with a closing of the size ``part``, a fraction of the longer side."""
    return [_contrast(scene.tones, max(3, round(part * max(scene.tones.shape)))) for scene in scenes]


def _contrast(tones: Floats, size: int) -> Floats:
    """Return how much darker each pixel is than its ground, as a fraction of the ground's brightness."""
    ground = ndimage.grey_closing(tones, size=(size, size), mode="nearest")
    return np.asarray((ground - tones) / np.maximum(ground, DARKEST), np.float32)


def _standing_alone(scene: Scene, seen: ink_areas.Seen, cut: float, tries: Iterator[int]) -> list[Digit]:
    """Return the digits that don't touch the picture's edge. Raises ink_areas.NoDigitError.

    Takes one of ``tries`` for each group of strokes that may be a digit.
    """
    contrast, labels, strokes, inner, around = seen
    groups = ink_areas.groups_of(inner)
    if sum(stroke.area for group in groups for stroke in group) <= CLEAN * sum(stroke.area for stroke in inner):
        raise ink_areas.NoDigitError(ink_areas.UNCLEAR)
    # Too many to read: a few tell whether they are digits or a texture.
    digits = [ink_areas.pixels(labels, group) for group in groups[: None if len(groups) <= ink_areas.LONGEST else FEW]]
    if len(digits) == 1 and not around.any() and (flaw := ink_areas.flaw(digits[0])):
        raise ink_areas.NoDigitError(flaw if len(strokes) <= FEW else ink_areas.UNCLEAR)
    all_digits = ink_areas.pixels(labels, [stroke for group in groups for stroke in group])
    confirmed = []
    for digit in digits:
        if next(tries, None) is None:
            raise ink_areas.NoDigitError(ink_areas.UNCLEAR)
        confirmed.append(_confirmed(scene, contrast, digit, around | (all_digits & ~digit), cut))
    # Only now: before, the groups may be anything, such as the texture of a photograph.
    ink_areas.require_line(groups, inner, labels)
    return confirmed


def _confirmed(scene: Scene, before: Floats, proposed: Mask, foreign: Mask, cut: float) -> Digit:
    """Measure a digit in its own surroundings. Raises ink_areas.NoDigitError if it does not stand alone there, or looks different.

    ``proposed``: its pixels. ``before``: their contrast. ``foreign``: the pixels of lines, frames and other digits.
    """
    rows, columns = (np.flatnonzero(proposed.any(axis)) for axis in (1, 0))
    height, width = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
    if max(height, width) < SMALLEST:
        raise ink_areas.NoDigitError(ink_areas.UNCLEAR)
    margin = max(2, round(MARGIN * max(height, width)))
    window = np.s_[
        max(0, rows[0] - margin) : rows[-1] + 1 + margin, max(0, columns[0] - margin) : columns[-1] + 1 + margin
    ]
    proposed, before = proposed[window], before[window]
    if ink_areas.flaw(proposed):
        raise ink_areas.NoDigitError(ink_areas.UNCLEAR)
    stroke = ink_areas.stroke_width(proposed)
    foreign = ndimage.binary_dilation(foreign[window], ink_areas.EIGHT, 2) & ~proposed
    contrast = _contrast(scene.tones[window], max(5, round(NARROW * stroke)))
    contrast = np.where(foreign, 0, contrast)
    peak = float(np.percentile(contrast[proposed], 90))
    if peak < max(scene.faintest, 0.7 * float(np.percentile(before[proposed], 90))):
        raise ink_areas.NoDigitError(ink_areas.UNCLEAR)
    mask = contrast >= max(cut * peak, scene.faintest)
    if (mask & proposed).sum() < 0.7 * proposed.sum():
        raise ink_areas.NoDigitError(ink_areas.UNCLEAR)
    numbers, strokes = ink_areas.connected(mask)
    seen = set(np.unique(numbers[proposed & mask]).tolist())
    edge = set(np.unique(np.concatenate([numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]])).tolist())
    own = [stroke for stroke in strokes if stroke.label in seen]
    if any(stroke.label in edge for stroke in own):
        raise ink_areas.NoDigitError(ink_areas.UNCLEAR)
    digit = ink_areas.pixels(numbers, own)
    if sum(part.area > 0.03 * digit.sum() for part in own) > PIECES:
        raise ink_areas.NoDigitError(ink_areas.UNCLEAR)
    ground = 1 - float((mask | foreign).mean())
    if (
        ink_areas.flaw(digit)
        or ground < GROUND
        or np.percentile(contrast[digit & ink_areas.middle(digit)], 10) < EVEN * peak
    ):
        raise ink_areas.NoDigitError(ink_areas.UNCLEAR)
    whole = ndimage.binary_dilation(digit, ink_areas.EIGHT, max(1, round(stroke / 2)))
    stray = (contrast >= max(ink_areas.STRAY * peak, scene.faintest)) & ~whole
    if stray.sum() > OTHERS * digit.sum():
        raise ink_areas.NoDigitError(ink_areas.UNCLEAR)
    ink = np.where(whole, contrast, 0)
    return Digit((ink / peak).clip(0, 1), ground)


def _filling(scenes: list[Scene]) -> Floats:
    """Return the ink of a digit that is cropped so tightly that it touches the picture's edge. Raises ink_areas.NoDigitError."""
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
        raise ink_areas.NoDigitError(ink_areas.UNCLEAR)
    _, contrast, mask = best
    labels, strokes = ink_areas.connected(mask)
    mask = ink_areas.pixels(labels, [stroke for stroke in strokes if stroke.area > 0.03 * strokes[0].area])
    for axis, side in ((1, mask.shape[0]), (0, mask.shape[1])):
        used = np.flatnonzero(mask.any(axis))
        if used[0] > 0.06 * side or used[-1] < side - 1 - 0.06 * side:
            raise ink_areas.NoDigitError(ink_areas.UNCLEAR)
    if (
        len(strokes) > 12
        or sum(stroke.area > 0.03 * strokes[0].area for stroke in strokes) > 3
        or ink_areas.lines_of(mask).any()
        or ink_areas.flaw(mask)
    ):
        raise ink_areas.NoDigitError(ink_areas.UNCLEAR)
    return contrast
