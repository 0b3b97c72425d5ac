"""Run one program at a time: a lock that ends with its process and names it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.common.errors import InputError


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Lock the file ``path`` for this process. Raises InputError with the process that has it if ``what`` already runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip()
            raise InputError(
                f"{what} is already running in another terminal (process {holder}): wait for it, or stop it there"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
