"""Clock readings: how long a training took, how fast a served model answers.

No two runs take the same time, and DVC hashes what a stage writes, so readings are stored outside what DVC tracks. They
are in this machine's reports, under the hash that dvc.lock has for the timed output. So the readings of an experiment
can be found again.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.common import files

FOLDER = Path("reports/clocks")


def write(stage: str, output: Path, readings: dict[str, Any]) -> None:
    """Store the ``readings`` of a ``stage`` (train@mnist) that timed ``output``, under the folder's current hash."""
    files.write_json(_path(stage, digest(output)), readings)


def keep(stage: str, output: Path, readings: Path) -> None:
    """Move the JSON file ``readings`` out of the folder ``output`` and store its content as `write` does."""
    content = files.read_json(readings)
    readings.unlink()
    write(stage, output, content)


def read(stage: str, digest: str) -> dict[str, Any]:
    """Return the readings for the output with that hash. Empty if there are none: another machine made the output."""
    path = _path(stage, digest)
    found: dict[str, Any] = files.read_json(path) if path.exists() else {}
    return found


def _path(stage: str, digest: str) -> Path:
    return files.home() / FOLDER / stage / f"{digest}.json"


def digest(folder: Path) -> str:
    """Return DVC's hash of a folder: https://dvc.org/doc/user-guide/project-structure/internal-files."""
    return digest_of(md5s(folder))


def md5s(folder: Path) -> dict[str, str]:
    """Return the MD5 of each file below ``folder`` by its relative path, in DVC's order."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: files.digest(path, "md5") for name, path in sorted(paths.items())}


def digest_of(md5s: Mapping[str, str]) -> str:
    """Return DVC's hash of a folder whose files have these `md5s`."""
    listed = [{"md5": md5, "relpath": path} for path, md5 in md5s.items()]
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"
