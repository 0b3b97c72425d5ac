"""One folder for all files of a run of the stand-in. If this run can't remove it, the next one does."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.common import temporary

PURPOSE = "aws"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Create a folder for all temporary files of this process. First remove folders whose owners were killed."""
    above = tempfile.gettempdir()
    with temporary.folder(PURPOSE) as folder:
        tempfile.tempdir = str(folder)
        try:
            yield folder
        finally:
            tempfile.tempdir = above
