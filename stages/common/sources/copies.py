"""Find duplicate pictures: copies have equal pixels, near copies look alike.

A test on training pictures does not measure how good a model is. So each picture is used in only one part of a data set,
and pictures of different parts that look alike are reported.
"""

import itertools
import sys
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence, Sized
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.common import files
from stages.common.errors import InputError

SIDE = 16
"""Side in pixels of the grey thumbnails that are compared."""

ALIKE = 0.02
"""Largest difference of near copies. Photographs that are saved again as JPEG (quality 40 and more) or resized (to 0.37 to 2 times
their size) differ by at most 0.009. Of 9.5 million pairs of real photographs, those from one viewpoint differ by 0.027 and more. For
32x32 pixels it is 0.02 for 95 % of the copies, 0.04 for others. Perceptual hashes of 64 and 256 bits, as in imagehash, separate less."""

TINT = 48
"""Largest difference of near copies' mean red, green or blue, of 255, after subtracting that of their brightness: thumbnails
have no colours. For thumbnails of a single tone the brightness is not subtracted, because they differ in nothing else."""

PAIRS = 2**22
"""Pairs compared at once, so that memory is bounded."""

JUDGED = {"test": "test", "valid": "validation"}
"""The parts on which a model is measured, and their names in messages."""

PRIORITY = ("test", "valid", "train")
"""The parts in the order in which they keep a picture that is in several."""

LISTED = 10
"""Number of near copies that are printed if there are too many."""

Look = bytes
"""The appearance of a picture, see `look`."""


class LabelledPicture(NamedTuple):
    """A readable picture: the path of its file, its part (train, valid, test), its label, and a key of its pixels."""

    file: str
    part: str
    label: int
    pixels: Hashable


class NearCopy(NamedTuple):
    """A picture of a later part, the most similar one of an earlier part, and their difference."""

    file: str
    near: str
    difference: float


def excess(pictures: Sequence[LabelledPicture]) -> dict[int, str]:
    """Return the indices of the pictures to leave out, each with the reason.

    Of equal pictures one is kept: the first of valid, otherwise the first of train. None is kept if one is in test, or if
    their labels differ: it is unknown which is correct. Test pictures are always kept, so that scores can be compared
    with published ones.
    """
    same: dict[Hashable, list[LabelledPicture]] = defaultdict(list)
    for picture in sorted(pictures, key=lambda one: PRIORITY.index(one.part)):
        same[picture.pixels].append(picture)
    reasons = ((index, _reason(picture, same[picture.pixels])) for index, picture in enumerate(pictures))
    return {index: reason for index, reason in reasons if reason}


def _reason(picture: LabelledPicture, same: Sequence[LabelledPicture]) -> str | None:
    """Return why ``picture`` is left out, or None. ``same`` are the equal pictures with it, in the order of PRIORITY."""
    if picture.part == "test" or len(same) == 1:
        return None
    first = same[0]
    if first.part != "test":
        for other in same:
            if other.label != picture.label:
                return f"same picture as {other.file}, which has another class"
    return None if first is picture else f"same picture as {first.file}"


def repeated(pictures: Sequence[LabelledPicture]) -> int:
    """Count the test pictures that equal an earlier one of the test set."""
    test = [picture.pixels for picture in pictures if picture.part == "test"]
    return len(test) - len(set(test))


def look(pixels: NDArray[np.uint8]) -> Look:
    """Return the look of a picture, uint8 (H, W, 3): a grey thumbnail and the mean red, green and blue."""
    picture = Image.fromarray(pixels)
    thumbnail = picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return thumbnail.tobytes() + picture.resize((1, 1), Image.Resampling.BOX).tobytes()


def _turned(one: Look, side: int, quarters: int) -> Look:
    """Return the look of a picture that is mirrored if ``side`` is -1, and turned by ``quarters`` of a circle."""
    thumbnail = np.frombuffer(one, np.uint8)[:-3].reshape(SIDE, SIDE)
    return np.rot90(thumbnail[:, ::side], quarters).tobytes() + one[-3:]


def nearest(ours: Sequence[Look], theirs: Sequence[Look]) -> dict[int, tuple[int, float]]:
    """Map each of ``ours`` that has a near copy in ``theirs`` to the most similar one and their difference.

    The difference is 1 minus the correlation of the thumbnails. It does not depend on brightness and contrast.
    """
    found: dict[int, tuple[int, float]] = {}
    if not ours or not theirs:
        return found
    (patterns, tints), (other_patterns, other_tints) = _apart(ours), _apart(theirs)
    lengths, other_lengths = ((values**2).sum(1) for values in (patterns, other_patterns))
    step = max(1, PAIRS // len(theirs))
    for begin in range(0, len(ours), step):
        chunk = slice(begin, begin + step)
        squares = np.outer(lengths[chunk], other_lengths)
        plain = squares == 0
        correlations = (patterns[chunk] @ other_patterns.T) / np.sqrt(squares + plain)
        correlations[np.add.outer(lengths[chunk], other_lengths) == 0] = 1  # two plain surfaces
        for row, column in np.argwhere(correlations >= 1 - ALIKE).tolist():
            difference = round(float(1 - correlations[row, column]), 4)
            best = found.get(begin + row, (0, 1.0))[1]
            tint = tints[begin + row] - other_tints[column]
            if not plain[row, column]:
                tint -= tint.mean()
            if np.abs(tint).max() <= TINT and difference < best:
                found[begin + row] = column, difference
    return found


def _apart(looks: Sequence[Look]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the thumbnails (N, 256), with a sum of 0 each, and the mean colours (N, 3).

    All are whole numbers, and so are their products: sums in float64 are exact in any order.
    """
    values = np.frombuffer(b"".join(looks), np.uint8).reshape(len(looks), -1).astype(np.float64)
    thumbnails, tints = values[:, :-3], values[:, -3:]
    return SIDE * SIDE * thumbnails - thumbnails.sum(1, keepdims=True), tints


def near_copies(looks: Mapping[str, Mapping[str, Look]]) -> list[NearCopy]:
    """Return the near copies, also mirrored and turned ones, of training pictures in valid, and of training and validation pictures in test.

    ``looks`` has the pictures' looks by part, in the order train, valid, test, and by file.
    """
    earlier: dict[str, Look] = {}
    found = []
    for own in looks.values():
        names, others, theirs = list(own), list(earlier), list(earlier.values())
        pairs: dict[int, tuple[int, float]] = {}
        for side, quarters in itertools.product((1, -1), range(4)):
            for mine, pair in nearest([_turned(one, side, quarters) for one in own.values()], theirs).items():
                if pair[1] < pairs.get(mine, (0, 1.0))[1]:
                    pairs[mine] = pair
        found += [NearCopy(names[mine], others[other], apart) for mine, (other, apart) in sorted(pairs.items())]
        earlier |= own
    return found


def write_near(path: Path, found: Sequence[NearCopy]) -> None:
    """Write the near copies as CSV if there are any."""
    if found:
        files.write_table(path, [one._asdict() for one in found])


def check_near(
    found: Sequence[NearCopy], parts: Mapping[str, Sized], source: object, setting: str, allowed: float
) -> str | None:
    """Return a sentence about near copies in different parts, None if there are none.

    ``parts`` are the pictures by part. Raises InputError if the fraction of those outside train that are near copies is
    above ``allowed``, the value of the parameter ``setting``, after printing the first of them.
    """
    if not found:
        return None
    judged = sum(len(pictures) for part, pictures in parts.items() if part != "train")
    share = len(found) / judged
    first = f"{found[0].file} is like {found[0].near}"
    kinds = " and ".join(name for part, name in JUDGED.items() if parts.get(part))
    counts = f"{len(found)} of {judged} pictures for {kinds} ({share:.1%})"
    if share > allowed:
        for one in found[:LISTED]:
            print(f"{one.file} is like {one.near} (difference {one.difference})", file=sys.stderr)
        raise InputError(
            f"{source}: found near copies in different parts: {counts} look like one of an earlier part, first {first}; "
            f"expected at most the fraction {setting} = {allowed}: delete near copies, put them into one part, or allow more"
        )
    return f"{counts} are near copies of pictures in an earlier part (near_copies.csv lists them), first {first}"
