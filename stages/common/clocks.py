"""Clock readings: how long a training took, how fast a served model answers.

No two runs take the same time, so DVC, which hashes what a stage writes, must not see them. They lie beside the results of
this machine, under the hash that dvc.lock has for what was timed; so an experiment's readings are found again.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from stages.common import files

FOLDER = Path("reports/clocks")


def write(stage: str, output: Path, readings: dict[str, Any]) -> None:
    """Keep the ``readings`` of a ``stage`` (train@mnist) that timed ``output``, a folder as it is now."""
    files.write_json(place(stage, digest(output)), readings)


def keep(stage: str, output: Path, readings: Path) -> None:
    """The same, the readings being a JSON file in the folder ``output``, which is moved out of it."""
    content = files.read_json(readings)
    readings.unlink()
    write(stage, output, content)


def read(stage: str, digest: str) -> dict[str, Any]:
    """What was kept for the output with that hash; empty if nothing was, as where another machine made it."""
    path = place(stage, digest)
    found: dict[str, Any] = files.read_json(path) if path.exists() else {}
    return found


def place(stage: str, digest: str) -> Path:
    return files.home() / FOLDER / stage / f"{digest}.json"


def digest(folder: Path) -> str:
    """The hash that DVC gives a folder: https://dvc.org/doc/user-guide/project-structure/internal-files."""
    paths = sorted(
        (path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.relative_to(folder).parts
    )
    listed = [{"md5": files.digest(path, "md5"), "relpath": path.relative_to(folder).as_posix()} for path in paths]
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"
