"""Compare captured with training pictures as `stages.scones.feedback.monitor` does, using only the standard library and pypng.

The properties are each picture's mean red, green and blue and its contrast, the standard deviation of its grey values.
"""

import bisect
import hashlib
import io
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence

import png  # type: ignore[import-untyped]

PROPERTIES = ("red", "green", "blue", "contrast")

LARGEST = 256
"""Longest side of a picture that is read, in pixels: a larger one takes seconds."""


def decode(content: bytes, side: int) -> bytes:
    """Return the pixels (red, green, blue) of what the model sees of a PNG file, on white where it is transparent.

    These are ``side`` x ``side`` pixels. Raise ValueError for other files, and for a side below that or above LARGEST.
    """
    try:
        reader = png.Reader(file=io.BytesIO(content))
        reader.preamble()
        if min(reader.width, reader.height) < side or max(reader.width, reader.height) > LARGEST:
            found = f"a picture of {reader.width}x{reader.height} pixels"
            raise ValueError(f"{found}: expected {side} to {LARGEST} on each side")
        width, height, rows, _ = reader.asRGBA8()
        values = [value for row in rows for value in row]
    except (png.Error, EOFError, ArithmeticError, LookupError, TypeError) as error:
        raise ValueError(f"the picture can't be read: {error}") from None
    return _squared(_on_white(values), width, height, side)


def _on_white(values: Sequence[int]) -> bytes:
    pixels = bytearray()
    for start in range(0, len(values), 4):
        alpha = values[start + 3]
        pixels += bytes((alpha * value + (255 - alpha) * 255 + 127) // 255 for value in values[start : start + 3])
    return bytes(pixels)


def _squared(pixels: bytes, width: int, height: int, side: int) -> bytes:
    """Return the central square, each pixel the mean of those that it covers, as `stages.scones.endpoint.picture` makes it."""
    shorter = min(width, height)
    columns, rows = (
        [int((length - shorter) / 2 + step * shorter / side + 0.5) for step in range(side + 1)]
        for length in (width, height)
    )
    square = bytearray()
    for top, bottom in itertools.pairwise(rows):
        for left, right in itertools.pairwise(columns):
            lines = [pixels[3 * (row * width + left) : 3 * (row * width + right)] for row in range(top, bottom)]
            count = (bottom - top) * (right - left)
            square += bytes(
                (2 * sum(sum(line[colour::3]) for line in lines) + count) // (2 * count) for colour in range(3)
            )
    return bytes(square)


def digest(picture: bytes) -> str:
    """Return a digest that identifies a picture's file."""
    return hashlib.sha256(picture).hexdigest()


def measured(pixels: bytes) -> dict[str, float]:
    """Return the PROPERTIES of a picture."""
    channels = [pixels[channel::3] for channel in range(3)]
    grey = [sum(colours) / 3 for colours in zip(*channels, strict=True)]
    return dict(zip(PROPERTIES, [*map(statistics.fmean, channels), statistics.pstdev(grey)], strict=True))


def statistic(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the two-sample Kolmogorov-Smirnov statistic: the largest difference between the cumulative distributions."""
    ours, theirs = sorted(ours), sorted(theirs)
    return max(
        abs(bisect.bisect_right(ours, value) / len(ours) - bisect.bisect_right(theirs, value) / len(theirs))
        for value in {*ours, *theirs}
    )


def limit(ours: int, theirs: int) -> float:
    """Return the statistic above which two samples of these sizes differ significantly, by its asymptotic distribution.

    Smirnov 1948, doi:10.1214/aoms/1177730256.
    """
    # The probability of reporting drift when there is none is 0.01 over all properties together (Bonferroni).
    level = 0.01 / len(PROPERTIES)
    return math.sqrt(-math.log(level / 2) / 2 * (ours + theirs) / (ours * theirs))


def drift(captured: Sequence[Mapping[str, float]], training: Mapping[str, Sequence[float]]) -> float:
    """Return the largest statistic of a property whose distribution has changed, else 0."""
    found = 0.0
    for name in PROPERTIES:
        ours, theirs = [one[name] for one in captured], training[name]
        reached = statistic(ours, theirs)
        if reached > limit(len(ours), len(theirs)):
            found = max(found, reached)
    return round(found, 4)
