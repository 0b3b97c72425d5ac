"""Temporary folders that disappear even if their process is killed: the next program that makes one removes them."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

YOUNG = 60.0  # s
"""A folder without a lock that is younger than this may have been made just now and be locked in a moment."""


@contextmanager
def folder(purpose: str) -> Iterator[Path]:
    """Yield an empty folder ``stages-PURPOSE-*`` in $TMPDIR. Remove those of the same purpose that killed processes left.

    A folder is in use while its process holds a lock on it: the system releases the lock when the process ends.
    """
    prefix = f"stages-{purpose}-"
    _remove_remains(prefix)
    path = Path(tempfile.mkdtemp(prefix=prefix)).resolve()
    lock = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _remove_remains(prefix: str) -> None:
    for path in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # another user's, or removed by another process
            continue
        try:
            about = os.fstat(lock)
            if about.st_uid == os.getuid() and time.time() - about.st_mtime > YOUNG:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:  # in use
            pass
        finally:
            os.close(lock)
