"""The exported models that are to hand: what is known of each, and whether it is the one that dvc.lock records."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stages import projects
from stages.common import files
from stages.common.program import InputError


@dataclass(frozen=True)
class Export:
    """A model that can be served.

    ``version`` is the MD5 that dvc.lock has of ``models/<project>/export``. ``metrics`` are those of metrics.json and
    details.json in ``reports/<project>``; ``data`` names the data that the model was trained on and measured with.
    """

    project: str
    archive: Path
    version: str
    metrics: dict[str, Any]

    @property
    def title(self) -> str:
        return projects.about(self.project).title


def find(wanted: Sequence[str]) -> tuple[dict[str, Export], dict[str, str]]:
    """Those of the ``wanted`` projects that can be served, and for each of the others a sentence with the command that mends it."""
    exports, missing = {}, {}
    for project in wanted:
        try:
            exports[project] = _read(project)
        except InputError as error:
            missing[project] = str(error)
    return exports, missing


def _read(project: str) -> Export:
    folder = Path("models", project, "export")
    files.require(folder / "model.tar.gz", f"export@{project}")
    recorded = _recorded(folder, f"export@{project}")
    # Loading bikes unpickles, and each archive brings code: only what this pipeline has made.
    if version(folder) != recorded:
        raise InputError(f"{folder} is not what dvc.lock records: `dvc repro export@{project}` makes it anew")
    measured = [Path("reports", project, f"{name}.json") for name in ("metrics", "details")]
    metrics, details = (files.read_json(files.require(path, f"evaluate@{project}")) for path in measured)
    return Export(project, folder / "model.tar.gz", recorded, metrics | details)


def _recorded(folder: Path, stage: str) -> str:
    """The MD5 of the output ``folder`` in dvc.lock, without DVC's suffix `.dir`."""
    try:
        lock = yaml.load(files.require(Path("dvc.lock"), stage).read_bytes(), Loader=yaml.CSafeLoader) or {}
    except yaml.YAMLError as error:
        raise InputError(f"dvc.lock can't be read: {error}") from None
    outputs = lock.get("stages", {}).get(stage, {}).get("outs", [])
    found = [str(out["md5"]) for out in outputs if out["path"] == folder.as_posix()]
    if not found:
        raise InputError(f"dvc.lock knows nothing of {folder}: `dvc repro {stage}` makes it")
    return found[0].removesuffix(".dir")


def version(folder: Path) -> str:
    """The MD5 by which DVC knows ``folder``: of the list of its files, each with its own, as JSON."""
    listing = [
        {"md5": files.digest(path, "md5"), "relpath": path.relative_to(folder).as_posix()}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    listing.sort(key=lambda entry: entry["relpath"])
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
