"""Find the exported models, read their metrics, and check that they match dvc.lock."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stages import projects
from stages.common import config, files
from stages.common.errors import InputError


@dataclass(frozen=True)
class Export:
    """A model that can be served.

    ``version`` is the MD5 of ``models/<project>/export`` in dvc.lock. ``metrics`` are those of metrics.json and
    details.json in ``reports/<project>``. Their entry ``data`` names the data of training and evaluation.
    """

    project: str
    archive: Path
    version: str
    metrics: dict[str, Any]

    @property
    def title(self) -> str:
        return projects.about(self.project).title


def find(wanted: Sequence[str]) -> tuple[dict[str, Export], dict[str, str]]:
    """Return the exports that can be served, and for each other project a message with the command that fixes it."""
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
    # Loading bikes unpickles, and each archive contains code: only exports of this pipeline are safe.
    if version(folder) != recorded:
        raise InputError(f"{folder} does not match dvc.lock: run `dvc repro export@{project}` to make it again")
    measured = [Path("reports", project, f"{name}.json") for name in ("metrics", "details")]
    metrics, details = (files.read_json(files.require(path, f"evaluate@{project}")) for path in measured)
    return Export(project, folder / "model.tar.gz", recorded, metrics | details)


def _recorded(folder: Path, stage: str) -> str:
    """Return the MD5 of the output ``folder`` in dvc.lock, without DVC's suffix `.dir`. Raise InputError if it has none."""
    try:
        lock = config.parse(files.require(Path("dvc.lock"), stage).read_bytes()) or {}
    except yaml.YAMLError as error:
        raise InputError(f"dvc.lock can't be read: {error}") from None
    outputs = lock.get("stages", {}).get(stage, {}).get("outs", [])
    found = [str(out["md5"]) for out in outputs if out["path"] == folder.as_posix()]
    if not found:
        raise InputError(f"dvc.lock has no entry for {folder}: run `dvc repro {stage}` to make it")
    return found[0].removesuffix(".dir")


def version(folder: Path) -> str:
    """Return DVC's MD5 of ``folder``: that of a JSON list of its files, each with its own MD5."""
    listing = [
        {"md5": files.digest(path, "md5"), "relpath": path.relative_to(folder).as_posix()}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    listing.sort(key=lambda entry: entry["relpath"])
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
