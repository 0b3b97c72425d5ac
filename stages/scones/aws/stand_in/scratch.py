"""One folder for all that a run of the stand-in writes to the disk, which the next run removes if this one could not."""

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
    """The place of all temporary files of this process. Folders whose owners were killed are removed first."""
    above = tempfile.gettempdir()
    for left in Path(above).glob(f"{NAME}*"):
        with suppress(OSError), _locked(left):
            shutil.rmtree(left)
    made = Path(tempfile.mkdtemp())
    with _locked(made):
        folder = made.rename(made.with_name(f"{NAME}{made.name}"))  # under a lock from the moment that it can be found
        tempfile.tempdir = str(folder)
        try:
            yield folder
        finally:
            tempfile.tempdir = above
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds a lock that ends with its owner, however that ends. Raises OSError if another process has it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
