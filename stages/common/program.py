"""Run a stage as a program: help, exit codes, one-line errors."""

import argparse
import atexit
import ctypes
import errno
import gc
import inspect
import os
import re
import resource
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stages.common import files
from stages.common.errors import InputError

DURATIONS = Path("reports/durations")
"""Folder with the run time of each stage that DVC ran here. DVC does not track it: no two runs take the same time."""

FULL = {
    errno.ENOSPC: "no space left on the disk: free some",
    errno.EDQUOT: "the disk quota is used up: free some of it",
    errno.EFBIG: "a file would be larger than this shell allows: raise the limit (`ulimit -f unlimited`)",
}


@contextmanager
def requires(group: str, what: str) -> Iterator[None]:
    """Raise InputError if the block imports a missing package. ``what`` needs requirements/``group``.txt."""
    try:
        yield
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] == "stages":
            raise
        raise InputError(
            f"{what} needs the package {error.name}, which is not installed: make env GROUPS={group}"
        ) from None


def run(main: Callable[..., None], arguments: Callable[[argparse.ArgumentParser], None] | None = None) -> None:
    """Run ``main`` as a command-line program.

    ``arguments`` declares its options, and ``main`` gets them by name. ``--help`` prints the docstring of the module
    that defines ``main``. An ``InputError`` ends the program with exit code 1 and its message on one line of standard
    error. Any other exception is a defect and keeps its traceback. The run time of a DVC stage is stored in
    `DURATIONS`.
    """
    module = inspect.getmodule(main)
    name = module.__spec__.name.removesuffix(".__main__") if module and module.__spec__ else None
    parser = argparse.ArgumentParser(
        prog=f"python -m {name}" if name else None,
        description=module.__doc__ if module else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if arguments:
        arguments(parser)
    gc.freeze()  # what was imported stays, so no collection looks at it
    gc.set_threshold(50_000)
    # Skip the final garbage collection: with torch loaded it takes up to a second.
    atexit.register(gc.freeze)
    try:
        try:
            options = vars(parser.parse_args())
            files.refuse_conflicts()
            main(**options)
        finally:
            sys.stdout.flush()
    except InputError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            # Python writes what is left at exit, and would print another error.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + signal.SIGPIPE)
        if reason := _cannot_write(error):
            sys.exit(f"error: {reason} and run this again, no partial files remain")
        raise
    if stage := os.environ.get("DVC_STAGE"):
        import psutil

        seconds = time.time() - psutil.Process().create_time()  # with the imports
        files.write_json(DURATIONS / f"{stage}.json", {"seconds": round(seconds, 1)})


def _reader_is_gone() -> bool:
    """Return whether standard output is a pipe that nothing reads any more, as after `| head`."""
    poll = select.poll()
    poll.register(1, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _cannot_write(error: BaseException | None) -> str | None:
    """Return why the system refused to write a file, if that caused ``error``."""
    while error is not None:
        if isinstance(error, OSError) and (number := _number(error)) in FULL:
            return FULL[number]
        error = error.__cause__ or error.__context__
    return None


def _number(error: OSError) -> int | None:
    """Return the system's number of ``error``, also if a library gives only words."""
    if isinstance(error, shutil.Error):  # copytree has a list of files with the words of each error
        found = re.search(r"\[Errno (\d+)\]", str(error))
        return int(found[1]) if found else None
    if error.errno is None and re.fullmatch(r"\d+ requested and \d+ written", str(error)):  # numpy
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
        return errno.ENOSPC if unlimited else errno.EFBIG
    return error.errno


def cores() -> int:
    """Count the cores of this process: its CPU affinity, or fewer if its container has a CPU quota (cgroup v2)."""
    available = len(os.sched_getaffinity(0))
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.exists():
        microseconds, period = quota.read_text().split()
        available = min(available, available if microseconds == "max" else int(microseconds) // int(period))
    return max(1, available)


def keep_memory() -> None:
    """Make glibc keep the memory of a batch for the next one.

    By default it returns large blocks at once, and each batch pays for new pages: a third of the time of a training
    step, a quarter of scoring.
    """
    with suppress(OSError, TypeError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 2**30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def workers() -> int:
    """Count the processes that a stage may run at once: OMP_NUM_THREADS, which `make repro` sets, or one per core."""
    return int(os.environ.get("OMP_NUM_THREADS", "").partition(",")[0] or cores())
