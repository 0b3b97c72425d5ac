"""The embedded sample: scikit-learn's 1,797 real handwritten digits (8x8 pixels), brought to MNIST's form.

https://archive.ics.uci.edu/dataset/80 (the test part of it, 13 writers). As in MNIST a digit fills a box of 20x20
pixels and its centre of mass is put into the middle of 28x28. What 8x8 pixels don't show stays unseen: the strokes
are soft.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Bytes = NDArray[np.uint8]

BOX, SIDE = 20, 28
TEST = 360
"""The last images are the test set: most of their writers are not among those of the training images."""


def write(folder: Path) -> None:
    """Fill ``folder`` with the four files of MNIST, unpacked."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.stack([enlarge(image) for image in digits.images])
    labels = digits.target.astype(np.uint8)
    for name, part in (("train", slice(None, -TEST)), ("t10k", slice(-TEST, None))):
        write_idx(folder / f"{name}-images-idx3-ubyte", images[part])
        write_idx(folder / f"{name}-labels-idx1-ubyte", labels[part])


def enlarge(image: NDArray[np.float64]) -> Bytes:
    """One digit, (8, 8) with values 0 to 16, as uint8 (28, 28)."""
    ink = Image.fromarray((image * (255 / 16)).astype(np.float32)).resize((BOX, BOX), Image.Resampling.BICUBIC)
    box = np.asarray(ink).clip(0, 255)
    rows, columns = np.arange(BOX) @ box.sum(1) / box.sum(), np.arange(BOX) @ box.sum(0) / box.sum()
    top, left = (int(np.clip(round((SIDE - 1) / 2 - centre), 0, SIDE - BOX)) for centre in (rows, columns))
    result = np.zeros((SIDE, SIDE), np.uint8)
    result[top : top + BOX, left : left + BOX] = box.round()
    return result


def write_idx(path: Path, array: Bytes) -> None:
    """``array`` as an idx file: two zero bytes, 8 for unsigned bytes, the number of dimensions, each size, the elements."""
    sizes = np.array(array.shape, ">u4")
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + sizes.tobytes() + array.tobytes())
