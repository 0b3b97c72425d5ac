"""Find the digits in a picture: the ink on its ground, whatever the light, the paper and the colours.

A morphological closing of the picture fills strokes: narrow shapes that are darker (or lighter) than their surroundings. Ink
is measured relative to the closed picture, the ground (a top hat, Serra 1982). So slow changes of light and wide areas of
another tone, such as a desk, have no ink. A group of strokes is a digit if it stands alone: it is measured a second time in
its own surroundings, and everything in them must be ground.

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
    import ink_contrast  # type: ignore[import-not-found]
    import ink_strokes  # type: ignore[import-not-found]
except ImportError:  # in the project, not in the export
    from stages.mnist.ink import ink_areas, ink_contrast, ink_strokes

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

FAINTEST = 0.065
"""Contrast, as a fraction of the ground's brightness, below which there is no ink: such contrast comes from the paper."""

NOISE = 4.0
"""Smallest contrast of ink, in standard deviations of the noise."""

WIDEST = (0.35, 0.15, 0.07)
"""Sizes of the closing, as fractions of the picture's longer side: strokes are narrower."""

CUTS = (0.45, 0.65)
"""A pixel with at least this fraction of the strongest contrast is ink. The higher one is for ink in shadows and on rulings."""

DEPTH = 2
"""Number of attempts. Each further one removes a layer of other things around a digit, such as a desk's edge, then a frame."""

MARGIN = 0.2
"""Width of a digit's surroundings, as a fraction of its longer side."""

SMALLEST = 12
"""Height in pixels, after reduction, below which a digit can't be read."""

NARROW = 3.5
"""Size of the closing around a digit, in widths of its stroke: wider shadows that touch it are not ink."""

OTHERS = 0.15
"""Largest area of other things in a digit's surroundings (see `ink_areas.STRAY`), as a fraction of the digit's ink."""

GROUND = 0.45
"""At least this fraction of a digit's surroundings is ground, not ink, frame or line."""

CLEAN = 0.75
"""At least this fraction of the ink belongs to digits. A scene or a texture has ink everywhere."""

EVEN = 0.6
"""The faintest tenth of the middle of the strokes has at least this fraction of the strongest contrast."""

PIECES = 2
"""Largest number of a digit's pieces. If there are more, parts of its strokes were lost, as in the shadow of a hand."""

FEW = 4
"""If a refused picture has more strokes, it is a texture or noise, not a drawing of a wrong form."""

TRIES = 200
"""Largest number of groups of strokes that are measured in their surroundings: 32 digits need 32, a texture has thousands."""

SMALL = 80
"""A picture whose longer side has fewer pixels is enlarged: its strokes are only a few pixels wide."""


class Digit(NamedTuple):
    """The ``ink`` of a digit, and which fraction of its surroundings is ``ground``."""

    ink: Floats
    ground: float


def inks(picture: Bytes) -> list[Floats]:
    """Return the ink of each digit in ``picture``, RGBA uint8 (H, W, 4), from left to right.

    Each is float32 (h, w), 0 on the ground, at most 1. Raises ink_areas.NoDigitError.
    """
    reasons, tries = [ink_areas.BLANK], iter(range(TRIES))
    for view in ink_contrast.views(picture):
        tones = ink_contrast.enlarged(view) if max(view.shape) < SMALL else view
        noise = ink_contrast.noise_of(tones)
        if noise > 2:
            side = 3 if noise < 8 else 5
            tones, noise = np.asarray(ndimage.uniform_filter(tones, side, mode="nearest"), np.float32), noise / side
        scenes = [
            ink_contrast.Scene(shown, max(FAINTEST, NOISE * noise / max(ink_contrast.DARKEST, float(np.median(shown)))))
            for shown in (tones, 255 - tones)
        ]
        contrasts = {WIDEST[0]: ink_contrast.contrasts_of(scenes, WIDEST[0])}  # the others only if this is not enough
        if all(one.max() < scene.faintest for scene, one in zip(scenes, contrasts[WIDEST[0]], strict=True)):
            continue
        seen: dict[tuple[int, float, float], ink_areas.Seen] = {}
        for _, size, cut in itertools.product(range(DEPTH), WIDEST, CUTS):
            if size not in contrasts:
                contrasts[size] = ink_contrast.contrasts_of(scenes, size)
            found = []
            for number, scene in enumerate(scenes):
                key = number, size, cut
                try:
                    contrast = ink_areas.without_frame(seen[key]) if key in seen else contrasts[size][number]
                    seen[key] = ink_areas.seen(contrast, scene.faintest, cut)
                    found.append(_standing_alone(scene, seen[key], contrasts[size][number], cut, tries))
                except ink_areas.NoDigitError as error:
                    reasons.append(str(error))
            if found:
                best = max(found, key=lambda digits: min(digit.ground for digit in digits))
                return [digit.ink for digit in best]
        try:
            return [_filling(scenes)]
        except ink_areas.NoDigitError as error:
            reasons.append(str(error))
    told = (ink_areas.TOO_MANY, ink_areas.SEVERAL_LINES, ink_areas.MARKS, ink_areas.LEFT_OVER, ink_areas.TOO_WIDE)
    raise ink_areas.NoDigitError(
        max(reasons, key=lambda reason: (reason != ink_areas.BLANK, reason in told, reasons.count(reason)))
    )


def _unclear_if(condition: object) -> None:
    if condition:
        raise ink_areas.NoDigitError(ink_areas.UNCLEAR)


def _standing_alone(
    scene: ink_contrast.Scene, seen: ink_areas.Seen, whole: Floats, cut: float, tries: Iterator[int]
) -> list[Digit]:
    """Return the digits that don't touch the picture's edge. Raises ink_areas.NoDigitError.

    Takes one of ``tries`` for each group of strokes that may be a digit.
    """
    contrast, labels, strokes, inner, around = seen
    groups = ink_areas.groups_of(inner)
    _unclear_if(
        sum(stroke.area for group in groups for stroke in group) <= CLEAN * sum(stroke.area for stroke in inner)
    )
    # Too many to read: a few tell whether they are digits or a texture.
    digits = [
        ink_strokes.pixels(labels, group) for group in groups[: None if len(groups) <= ink_areas.LONGEST else FEW]
    ]
    if len(digits) == 1 and not around.any() and (flaw := ink_areas.flaw(digits[0])):
        raise ink_areas.NoDigitError(flaw if len(strokes) <= FEW else ink_areas.UNCLEAR)
    all_digits = ink_strokes.pixels(labels, [stroke for group in groups for stroke in group])
    confirmed = []
    for digit in digits:
        _unclear_if(next(tries, None) is None)
        confirmed.append(_confirmed(scene, contrast, digit, around | (all_digits & ~digit), cut))
    # Only now: before, the groups may be anything, such as the texture of a photograph.
    ink_areas.require_line(groups, inner, labels)
    ink_areas.require_all_read(whole, all_digits, scene.faintest, cut)
    return confirmed


def _confirmed(scene: ink_contrast.Scene, before: Floats, proposed: Mask, foreign: Mask, cut: float) -> Digit:
    """Measure a digit in its own surroundings.

    ``proposed`` are its pixels, ``before`` their contrast, ``foreign`` the pixels of lines, frames and other digits. Raises
    ink_areas.NoDigitError if the digit does not stand alone there, or looks different.
    """
    rows, columns = (np.flatnonzero(proposed.any(axis)) for axis in (1, 0))
    height, width = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
    _unclear_if(max(height, width) < SMALLEST)
    margin = max(2, round(MARGIN * max(height, width)))
    window = np.s_[
        max(0, rows[0] - margin) : rows[-1] + 1 + margin, max(0, columns[0] - margin) : columns[-1] + 1 + margin
    ]
    proposed, before = proposed[window], before[window]
    _unclear_if(ink_areas.flaw(proposed))
    stroke = ink_strokes.stroke_width(proposed)
    foreign = ndimage.binary_dilation(foreign[window], ink_strokes.EIGHT, 2) & ~proposed
    contrast = ink_contrast.contrast_of(scene.tones[window], max(5, round(NARROW * stroke)))
    contrast = np.where(foreign, 0, contrast)
    peak = float(np.percentile(contrast[proposed], 90))
    _unclear_if(peak < max(scene.faintest, 0.7 * float(np.percentile(before[proposed], 90))))
    mask = contrast >= max(cut * peak, scene.faintest)
    _unclear_if((mask & proposed).sum() < 0.7 * proposed.sum())
    numbers, strokes = ink_strokes.connected(mask)
    seen = set(np.unique(numbers[proposed & mask]).tolist())
    edge = set(np.unique(np.concatenate([numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]])).tolist())
    own = [stroke for stroke in strokes if stroke.label in seen]
    _unclear_if(any(stroke.label in edge for stroke in own))
    digit = ink_strokes.pixels(numbers, own)
    _unclear_if(sum(part.area > 0.03 * digit.sum() for part in own) > PIECES)
    ground = 1 - float((mask | foreign).mean())
    _unclear_if(ink_areas.flaw(digit) or ground < GROUND)
    _unclear_if(np.percentile(contrast[ink_strokes.middle(ink_strokes.depth_of(digit))], 10) < EVEN * peak)
    whole = ndimage.binary_dilation(digit, ink_strokes.EIGHT, max(1, round(stroke / 2)))
    stray = (contrast >= max(ink_areas.STRAY * peak, scene.faintest)) & ~whole
    _unclear_if(stray.sum() > OTHERS * digit.sum())
    ink = np.where(whole, contrast, 0)
    return Digit((ink / peak).clip(0, 1), ground)


def _filling(scenes: list[ink_contrast.Scene]) -> Floats:
    """Return the ink of a digit that is cropped so tightly that it touches the picture's edge. Raises ink_areas.NoDigitError."""
    best: tuple[float, Floats, Mask] | None = None
    for scene in scenes:
        ink, paper = (float(np.percentile(scene.tones, part)) for part in (2, 98))
        contrast = ((paper - scene.tones) / max(paper - ink, 1)).clip(0, 1)
        mask = contrast > 0.5
        border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean()
        even = ((contrast < 0.25) | (contrast > 0.75)).mean()
        if (
            paper - ink > max(0.2, scene.faintest) * max(paper, ink_contrast.DARKEST)
            and even > 0.7
            and (best is None or border < best[0])
        ):
            best = float(border), contrast, mask
    if best is None or best[0] > 0.4:
        raise ink_areas.NoDigitError(ink_areas.UNCLEAR)
    _, contrast, mask = best
    labels, strokes = ink_strokes.connected(mask)
    mask = ink_strokes.pixels(labels, [stroke for stroke in strokes if stroke.area > 0.03 * strokes[0].area])
    for axis, side in ((1, mask.shape[0]), (0, mask.shape[1])):
        used = np.flatnonzero(mask.any(axis))
        _unclear_if(used[0] > 0.06 * side or used[-1] < side - 1 - 0.06 * side)
    _unclear_if(len(strokes) > 12 or sum(stroke.area > 0.03 * strokes[0].area for stroke in strokes) > 3)
    _unclear_if(ink_strokes.lines_of(mask).any() or ink_areas.flaw(mask))
    return contrast
