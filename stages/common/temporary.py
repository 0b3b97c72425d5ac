"""Temporary folders that disappear even if their process is killed: the next program that makes one removes them."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def folder(purpose: str) -> Iterator[Path]:
    """Yield an empty folder ``stages-PURPOSE-*`` in $TMPDIR. Remove those of the same purpose that killed processes left.

    A folder is in use while its process holds a lock on it: the system releases the lock when the process ends.
    """
    prefix = f"stages-{purpose}-"
    _remove_remains(prefix)
    made = Path(tempfile.mkdtemp()).resolve()
    lock = os.open(made, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = made.rename(made.with_name(f"{prefix}{made.name}"))  # locked before another process can find it
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)


def _remove_remains(prefix: str) -> None:
    for path in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # another user's, or removed by another process
            continue
        try:
            if os.fstat(lock).st_uid == os.getuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:  # in use
            pass
        finally:
            os.close(lock)
