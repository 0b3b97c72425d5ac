"""Check MNIST's four idx files, gzipped or not, and write `train.npz` and `test.npz`. Takes 2 s for 70,000 images."""

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.common import config, files
from stages.common.errors import InputError
from stages.common.program import run
from stages.common.sources.source import open_source
from stages.mnist import drawing
from stages.mnist.config import Data
from stages.mnist.sources import official, sample

RAW = Path("data/mnist/raw")
Bytes = NDArray[np.uint8]

CLASSES, SIDE = 10, 28
MOST = 2**30
"""Largest accepted size of an unpacked file in bytes: 1.3 million images. MNIST's largest has 47,040,016."""


def read_part(folder: Path, part: str) -> tuple[Bytes, Bytes]:
    """Return the images (N, 28, 28) and labels (N) of ``part`` (train or t10k). Raises InputError for another form."""
    images_path, labels_path = find(folder, f"{part}-images-idx3-ubyte"), find(folder, f"{part}-labels-idx1-ubyte")
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if images.shape[1:] != (SIDE, SIDE):
        raise InputError(
            f"{images_path}: header: found images of {images.shape[1]}x{images.shape[2]}, expected {SIDE}x{SIDE}"
        )
    if len(images) == 0:
        raise InputError(f"{images_path}: header: found 0 images, expected at least 1")
    if len(images) != len(labels):
        raise InputError(
            f"{labels_path}: header: found {len(labels)} labels, expected {len(images)}, one per image of {images_path.name}"
        )
    if labels.max() >= CLASSES:
        first = int((labels >= CLASSES).argmax())
        raise InputError(f"{labels_path}: label {first}: found {labels[first]}, expected a digit from 0 to 9")
    blank = (images == images[:, :1, :1]).all((1, 2)) | (images.max((1, 2)) < 2)
    if blank.any():
        raise InputError(
            f"{images_path}: image {int(blank.argmax())}: found a blank one, expected a digit in each: leave it out, with its label"
        )
    light = drawing.light(images)
    if light.any():
        raise InputError(
            f"{images_path}: image {int(light.argmax())}: found a light background, expected white ink on black in each: "
            "invert it (255 - image)"
        )
    return images, labels


def find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise InputError(f"{folder}: found neither {name} nor {name}.gz, expected MNIST's four files")


def read_idx(path: Path, dimensions: int) -> Bytes:
    """Read an idx file of unsigned bytes with ``dimensions`` dimensions. Format: yann.lecun.com/exdb/mnist.

    No more is unpacked than the header announces, and that is bounded. Raises InputError for any other file, including a
    truncated one.
    """
    magic = bytes([0, 0, 0x08, dimensions])  # 0x08: unsigned bytes
    header = 4 + 4 * dimensions
    start = beginning(path, header)
    if len(start) < header:
        raise InputError(f"{path}: found {len(start)} bytes, expected an idx header of {header}")
    if start[:4] != magic:
        raise InputError(f"{path}: bytes 0 to 3: found magic number 0x{start[:4].hex()}, expected 0x{magic.hex()}")
    shape = [int(size) for size in np.frombuffer(start, ">u4", dimensions, offset=4)]
    sizes = "x".join(map(str, shape))
    expected = header + int(np.prod(shape, dtype=object))
    if max(expected, *shape) > MOST:  # one size can be 0, and the product with it
        raise InputError(f"{path}: header: found {sizes} values, expected at most {MOST:,} bytes")
    content = beginning(path, expected + 1)
    if len(content) != expected:
        found = f"more than {expected}" if len(content) > expected else str(len(content))
        raise InputError(f"{path}: found {found} bytes, expected {expected} for the {sizes} values in its header")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def beginning(path: Path, size: int) -> bytes:
    """Return the file's first ``size`` bytes, or all if it has fewer, unzipped if its name ends in .gz.

    Raises InputError if it is empty or its gzip is damaged.
    """
    if path.stat().st_size == 0:
        raise InputError(f"{path}: found an empty file, expected idx data")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return file.read(size)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            f"{path}: found {path.stat().st_size} bytes that are not a complete gzip file ({error}), expected a complete one"
        ) from None


def main() -> None:
    with open_source("mnist", config.load("data.mnist", Data), sample.write, official.fetch) as source:
        parts = {"train": read_part(source.folder, "train"), "test": read_part(source.folder, "t10k")}
        name = source.name
    with files.new_folder(RAW) as folder:
        for part, (images, labels) in parts.items():
            files.write_arrays(folder / f"{part}.npz", images=images, labels=labels)
        files.write_json(folder / "about.json", {"source": name})
    print(f"mnist from {name}: {len(parts['train'][1])} training and {len(parts['test'][1])} test images in {RAW}")


if __name__ == "__main__":
    run(main)
