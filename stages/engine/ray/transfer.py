"""What travels to a cluster's nodes: work, and the files that it needs."""

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
from stages.common.program import InputError


class Sent(NamedTuple):
    """A folder of the working folder, and its copy in the storage; None where all nodes see the working folder itself."""

    home: Path
    folder: Path
    copy: UPath | None


def importable(work: Callable[..., Any]) -> Callable[..., Any]:
    """``work`` by its module's name, where that is the program that runs: nodes import it instead of getting a copy."""
    if isinstance(work, partial):
        return partial(importable(work.func), *work.args, **work.keywords)
    spec = sys.modules["__main__"].__spec__
    if work.__module__ != "__main__" or spec is None:
        return work
    found: Callable[..., Any] = getattr(import_module(spec.name), work.__name__)
    return found


def copy(source: UPath, target: UPath) -> None:
    """All files below ``source``."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            there = target / path.relative_to(source).as_posix()
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(path.read_bytes())


def send(folder: Path, storage: str | None) -> Sent:
    """Make ``folder``, of the working folder, reachable for all nodes; what is in the ``storage`` already stays there."""
    if storage is None:
        return Sent(Path.cwd(), folder, None)
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    key = files.digest_of(f"{path.relative_to(folder)} {files.digest(path)}" for path in found)
    target = UPath(storage) / "features" / key
    if not (target / "complete").exists():
        copy(UPath(folder), target)
        (target / "complete").touch()
    return Sent(Path.cwd(), folder, target)


def settle(sent: Sent) -> None:
    """On a node: make the folder that has ``sent`` what this process works in. Raises InputError where it doesn't see it."""
    if sent.copy is None:
        if not (sent.home / sent.folder).is_dir():
            raise InputError(
                f"node {os.uname().nodename} does not see {sent.home / sent.folder}: "
                "give engine.storage a folder or URL that all nodes reach"
            )
        os.chdir(sent.home)
        return
    os.chdir(tempfile.mkdtemp(prefix="stages-"))  # a worker's, which ends with its process
    sent.folder.mkdir(parents=True)
    copy(sent.copy, UPath(sent.folder))
