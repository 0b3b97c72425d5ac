"""Checkpoints: a training run writes one after each epoch, and resumes from it after it was killed."""

import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from upath import UPath

import stages
from stages.common import files
from stages.common.training import distributed, ensemble
from stages.common.training.ensemble import Settings

Location = Path | UPath
"""A local file, or a URL such as s3://bucket/key."""


def paths(
    project: str, settings: Settings, root: Location, inputs: Callable[[Settings], Sequence[Path]]
) -> list[Location]:
    """Return the path below ``root`` of the checkpoint of each network of ``settings``, of this training alone.

    ``inputs`` returns the files that a network depends on besides its settings and code.
    """
    keys = [key(member.model_dump_json(), inputs(member)) for member in ensemble.members(project, settings)]
    return [root / project / f"{key}.pt" for key in keys]


def key(settings: str, inputs: Sequence[Path]) -> str:
    """Return a name for a checkpoint. It differs if ``settings``, the contents of ``inputs``, or the code differ.

    The code is every module of `stages` that the program has loaded: no list has to be kept up to date.
    """
    known = [torch.__version__, str(stages.portable()), settings]
    return files.digest_of([*known, *(files.digest(path) for path in [*inputs, *_code()])])


def _code() -> list[Path]:
    """Return the files of the loaded modules of `stages`, including the one that runs as `__main__`."""
    package = Path(stages.__file__).parent
    loaded = {Path(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    return sorted(path for path in loaded if path.is_relative_to(package))


def write(path: Location, state: dict[str, Any]) -> None:
    """Replace the checkpoint with ``state``, which has tensors, numbers and strings."""
    buffer = io.BytesIO()  # torch reports a full disk as `unexpected pos`, without its cause
    torch.save(state, buffer)
    if isinstance(path, Path):
        with files.new_file(path) as partial:
            partial.write_bytes(buffer.getbuffer())
    else:
        path.write_bytes(buffer.getvalue())  # an object store shows the object only once it is complete


def read(path: Location) -> dict[str, Any] | None:
    """Return the checkpoint, or None if there is none. All processes get the one that the first process reads."""
    content = path.read_bytes() if distributed.rank() == 0 and path.exists() else None
    content = distributed.of_first(content)
    if content is None:
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state
