"""Read CIFAR-100's "python version", a tar of pickles.

The pickles are read as data, not unpickled (`pickle_reader`).

Source: https://www.cs.toronto.edu/~kriz/cifar.html. The pickle `meta` is a dict with the names of the fine labels.
`train` and `test` are dicts with `filenames`, `fine_labels` and `data`, uint8 (N, 3072). A row holds a picture's red,
then green, then blue plane.
"""

import itertools
import tarfile
import zlib
from pathlib import Path

import numpy as np

from stages.common.errors import InputError
from stages.scones.config import FINE_LABELS
from stages.scones.layout import NAME, PARTS, SIDE, Bytes, Pictures
from stages.scones.sources import pickle_reader
from stages.scones.sources.pickle_reader import Call, Global

FOLDER = "cifar-100-python"
LARGEST = 200_000_000
"""Largest accepted size of an unpacked member in bytes. `train` has 155,249,918."""
MOST_MEMBERS = 100
"""How many members are searched for the three."""


def read(archive: Path) -> dict[str, Pictures]:
    """Return the splits ``train`` and ``test``, with indices into FINE_LABELS. Raises InputError with the archive's member and the problem."""
    contents = _members(archive)
    splits = {}
    for name, content in contents.items():
        try:
            value = pickle_reader.read(content)
            if not isinstance(value, dict):
                raise ValueError(f"found a {type(value).__name__}, expected a dict")
            if name in PARTS:
                splits[name] = _split(value)
            elif value.get("fine_label_names") != FINE_LABELS:
                raise ValueError("found other fine_label_names, expected CIFAR-100's")
        except ValueError as error:
            raise InputError(f"{archive}: {FOLDER}/{name}: {error}") from None
    return splits


def _members(archive: Path) -> dict[str, bytes]:
    """Return the bytes of `train`, `test` and `meta`. Nothing is unpacked to the disk, and no other member is read."""
    wanted = {f"{FOLDER}/{name}": name for name in (*PARTS, "meta")}
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in itertools.islice(tar, MOST_MEMBERS):
                if member.name in wanted and member.isreg():
                    if member.size > LARGEST:
                        raise InputError(
                            f"{archive}: {member.name}: found {member.size} bytes, expected at most {LARGEST}"
                        )
                    file = tar.extractfile(member)
                    assert file is not None  # a regular file has contents
                    contents[wanted[member.name]] = file.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise InputError(f"{archive}: found an incomplete or invalid .tar.gz ({error}), expected CIFAR-100's") from None
    missing = [path for path, name in wanted.items() if name not in contents]
    if missing:
        raise InputError(f"{archive}: found no {' and no '.join(missing)}, expected CIFAR-100's python version")
    return contents


def _is_png(name: str) -> bool:
    return bool(NAME.fullmatch(name)) and name.endswith(".png")


def _split(value: dict[str, object]) -> Pictures:
    """Check the content of a split. Raises ValueError."""
    names, labels = value.get("filenames"), value.get("fine_labels")
    if not isinstance(names, list) or not all(isinstance(name, str) and _is_png(name) for name in names):
        raise ValueError("found other filenames, expected a list of names that end in .png")
    if not isinstance(labels, list) or not all(
        type(label) is int and 0 <= label < len(FINE_LABELS) for label in labels
    ):
        raise ValueError(f"found other fine_labels, expected a list of numbers below {len(FINE_LABELS)}")
    data = _array(value.get("data"))
    if not len(names) == len(labels) == len(data):
        raise ValueError(
            f"found {len(names)} filenames, {len(labels)} fine_labels and {len(data)} rows of data, expected equal numbers"
        )
    images = data.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return Pictures(images, np.array(labels, np.int64), np.array(names))


def _array(value: object) -> Bytes:
    """Return the rows (N, 3072) that numpy has pickled as ``value``. Raises ValueError."""
    match value:
        # The state of a pickled array: version, shape, type, 1 for Fortran order, bytes.
        case Call(
            Global("numpy.core.multiarray _reconstruct"),
            _,
            (1, (int(rows), int(columns)), Call(Global("numpy dtype"), ("u1", *_)), 0, str(content)),
        ):
            found = f"data of {rows}x{columns} in {len(content)} bytes"
            if columns == 3 * SIDE * SIDE and rows * columns == len(content):
                return np.frombuffer(content.encode("latin-1"), np.uint8).reshape(rows, columns)
        case _:
            found = "other data"
    raise ValueError(f"found {found}, expected a numpy array of bytes with {3 * SIDE * SIDE} columns")
