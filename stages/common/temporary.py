"""Create temporary folders. If a process is killed, a later one removes its folders."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def folder(purpose: str) -> Iterator[Path]:
    """Yield an empty folder ``stages-PURPOSE-*`` in $TMPDIR. First remove those of this purpose that killed processes left.

    A folder is in use while its process holds a lock on it: the system releases the lock when the process ends.
    """
    prefix = f"stages-{purpose}-"
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError), _locked(left):  # OSError: another user's, in use, or removed by another process
            if left.stat().st_uid == os.getuid():
                shutil.rmtree(left)
    made = Path(tempfile.mkdtemp()).resolve()
    with _locked(made):
        path = made.rename(made.with_name(f"{prefix}{made.name}"))  # locked before another process can find it
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that ends with its process, even if that is killed. Raises OSError if another process has it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
