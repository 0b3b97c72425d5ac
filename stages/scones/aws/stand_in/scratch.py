"""One folder for all files of a run of the stand-in. The next run removes it if this one could not."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NAME = "aws-stand-in-"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Create a folder for all temporary files of this process. First remove folders whose owners were killed."""
    above = tempfile.gettempdir()
    for left in Path(above).glob(f"{NAME}*"):
        with suppress(OSError), _locked(left):
            shutil.rmtree(left)
    made = Path(tempfile.mkdtemp())
    with _locked(made):
        folder = made.rename(made.with_name(f"{NAME}{made.name}"))  # locked before others can find it
        tempfile.tempdir = str(folder)
        try:
            yield folder
        finally:
            tempfile.tempdir = above
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a lock that ends with its owner, even if that is killed. Raise OSError if another process has it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
