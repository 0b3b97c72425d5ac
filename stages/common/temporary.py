"""Temporary folders that disappear even if their process is killed: the next program that makes one removes them."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def folder(name: str) -> Iterator[Path]:
    """Yield an empty folder ``NAME-*`` in $TMPDIR. First remove those of the same name whose processes were killed."""
    for left in Path(tempfile.gettempdir()).glob(f"{name}-*"):
        with suppress(OSError), _locked(left):
            shutil.rmtree(left)
    made = Path(tempfile.mkdtemp()).resolve()
    with _locked(made):
        path = made.rename(made.with_name(f"{name}-{made.name}"))  # locked before others can find it
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that ends with its owner, even if that is killed. Raise OSError if another process has it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
