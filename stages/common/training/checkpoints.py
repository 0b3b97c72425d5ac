"""What a training run keeps while it goes on, so that it goes on from there when it was killed."""

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from upath import UPath

import stages
from stages.common import files
from stages.common.training import distributed

Place = Path | UPath
"""A file here, or elsewhere: s3://bucket/key."""


def key(settings: str, inputs: Sequence[Path]) -> str:
    """A name for what a training keeps: another one for other ``settings``, contents of the ``inputs``, or code.

    The code is every module of `stages` that the program has loaded, so that no list of them can fall behind.
    """
    known = [torch.__version__, str(stages.portable()), settings]
    return files.digest_of([*known, *(files.digest(path) for path in [*inputs, *_code()])])


def _code() -> list[Path]:
    """The files of the modules of `stages` in this process, also of the one that runs as `__main__`."""
    package = Path(stages.__file__).parent
    loaded = {Path(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    return sorted(path for path in loaded if path.is_relative_to(package))


def write(path: Place, state: dict[str, Any]) -> None:
    """Keep ``state``, of tensors, numbers and texts, in the place of what was kept before."""
    if isinstance(path, Path):
        with files.new_file(path) as partial:
            torch.save(state, partial)
    else:
        buffer = io.BytesIO()
        torch.save(state, buffer)
        path.write_bytes(buffer.getvalue())  # a store of objects shows it when all of it is there


def read(path: Place) -> dict[str, Any] | None:
    """What was kept; None if nothing was. All processes get what the first one finds."""
    content = path.read_bytes() if distributed.rank() == 0 and path.exists() else None
    content = distributed.of_first(content)
    if content is None:
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state


def forget(path: Place) -> None:
    """Who has stored a training's result deletes what was kept of it."""
    path.unlink(missing_ok=True)
