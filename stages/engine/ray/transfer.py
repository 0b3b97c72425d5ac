"""Send work, and the files that it needs, to a cluster's nodes."""

import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from upath import UPath

from stages.common import files
from stages.common.errors import InputError


class SentFolder(NamedTuple):
    """A folder below the working folder, and its copy in the storage. None if all nodes see the working folder."""

    home: Path
    folder: Path
    copy: UPath | None


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


def send(folder: Path, storage: str | None) -> SentFolder:
    """Make ``folder``, below the working folder, available on all nodes. Send it only if ``storage`` does not have it yet."""
    if storage is None:
        return SentFolder(Path.cwd(), folder, None)
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    key = files.digest_of(f"{path.relative_to(folder)} {files.digest(path)}" for path in found)
    target = UPath(storage) / "features" / key
    if not (target / "complete").exists():
        copy(UPath(folder), target)
        (target / "complete").touch()
    return SentFolder(Path.cwd(), folder, target)


def settle(sent: SentFolder) -> None:
    """On a node, change to a working folder that has the sent folder. Raises InputError if the node does not see it."""
    if sent.copy is None:
        if not (sent.home / sent.folder).is_dir():
            raise InputError(
                f"node {os.uname().nodename} does not see {sent.home / sent.folder}: "
                "set engine.storage to a folder or URL that all nodes can reach"
            )
        os.chdir(sent.home)
        return
    os.chdir(tempfile.mkdtemp(prefix="stages-"))  # a folder for this worker process only
    sent.folder.mkdir(parents=True)
    copy(sent.copy, UPath(sent.folder))
