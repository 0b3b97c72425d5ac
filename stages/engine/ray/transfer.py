"""Send work, and the files that it needs, to a cluster's nodes."""

import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from upath import UPath

from stages.common import files
from stages.common.errors import InputError


def importable(work: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``work``, replaced by its module's function if it belongs to `__main__`.

    Nodes can then import it instead of getting a copy.
    """
    if isinstance(work, partial):
        return partial(importable(work.func), *work.args, **work.keywords)
    spec = sys.modules["__main__"].__spec__
    if work.__module__ != "__main__" or spec is None:
        return work
    found: Callable[..., Any] = getattr(import_module(spec.name), work.__name__)
    return found


def copy(source: UPath, target: UPath) -> None:
    """Copy all files below ``source`` to ``target``."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            there = target / path.relative_to(source).as_posix()
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(path.read_bytes())


def send(folder: Path, storage: str | None) -> Callable[[], None]:
    """Make ``folder``, below the working folder, available on all nodes. Send it only if ``storage`` does not have it yet.

    Returns what each worker has to call first: it changes to a working folder with the sent folder. It raises InputError if
    the node does not see the folder.
    """
    if storage is None:
        return partial(_enter, Path.cwd(), folder)
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    key = files.digest_of(f"{path.relative_to(folder)} {files.digest(path)}" for path in found)
    target = UPath(storage) / "features" / key
    if not (target / "complete").exists():
        copy(UPath(folder), target)
        (target / "complete").touch()
    return partial(_fetch, target, folder)


def _enter(home: Path, folder: Path) -> None:
    if not (home / folder).is_dir():
        remedy = "set engine.storage to a folder or URL that all nodes can reach"
        raise InputError(f"node {os.uname().nodename} does not see {home / folder}: {remedy}")
    os.chdir(home)


def _fetch(sent: UPath, folder: Path) -> None:
    os.chdir(tempfile.mkdtemp(prefix="stages-"))  # a folder for this worker process only
    folder.mkdir(parents=True)
    copy(sent, UPath(folder))
