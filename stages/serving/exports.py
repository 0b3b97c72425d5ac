"""Find the exported models, read their metrics, and check that they match dvc.lock."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stages.common import clocks, config, files
from stages.common.errors import InputError

SCORES = ("accuracy", "rmsle_test", "rmsle_valid")
"""Metrics of which a model has at least one, as a number."""


@dataclass(frozen=True)
class Export:
    """A model that can be served.

    ``version`` is the MD5 of ``models/<project>/export`` in dvc.lock, ``md5`` that of the archive. ``metrics`` are those of metrics.json and
    details.json in ``reports/<project>``. Their entry ``data`` names the data of training and evaluation.
    """

    project: str
    archive: Path
    version: str
    metrics: dict[str, Any]
    md5: str


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
    md5s = clocks.md5s(folder)
    # Loading bikes unpickles, and each archive contains code: only exports of this pipeline are safe.
    if clocks.digest_of(md5s) != f"{recorded}.dir":
        raise InputError(f"{folder} does not match dvc.lock: run `dvc repro export@{project}` to make it again")
    metrics = _measured(project, "metrics") | _measured(project, "details")
    if not isinstance(metrics.get("data"), str) or not any(type(metrics.get(name)) in (int, float) for name in SCORES):
        raise InputError(
            f"reports/{project}/metrics.json has no entry data, or none of {', '.join(SCORES)}: "
            f"`dvc repro evaluate@{project}` makes it again"
        )
    return Export(project, folder / "model.tar.gz", recorded, metrics, md5s["model.tar.gz"])


def _measured(project: str, name: str) -> dict[str, Any]:
    """Return the metrics of ``reports/<project>/<name>.json``. Raise InputError if they can't be read."""
    stage = f"evaluate@{project}"
    path = files.require(Path("reports", project, f"{name}.json"), stage)
    try:
        found = files.read_json(path)
        json.dumps(found, allow_nan=False, ensure_ascii=False).encode()  # GET /models has to send it
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} can't be read ({error}): `dvc repro {stage}` makes it again") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected an object with metrics: `dvc repro {stage}` makes it again")
    return found


def _recorded(folder: Path, stage: str) -> str:
    """Return the MD5 of the output ``folder`` in dvc.lock, without DVC's suffix `.dir`. Raise InputError if it has none."""
    remedy = f"run `git checkout dvc.lock` or `dvc repro {stage}`"
    try:
        lock = config.parse(files.require(Path("dvc.lock"), stage).read_bytes()) or {}
        outputs = lock.get("stages", {}).get(stage, {}).get("outs", [])
        found = [str(out["md5"]) for out in outputs if out["path"] == folder.as_posix()]
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())  # YAML's errors have several lines
        raise InputError(f"dvc.lock can't be read: {reason}: {remedy}") from None
    except (AttributeError, TypeError, KeyError):
        # A list or a text where DVC writes an object, or an entry without MD5.
        raise InputError(f"dvc.lock is not as DVC writes it: {remedy}") from None
    if not found:
        raise InputError(f"dvc.lock has no entry for {folder}: run `dvc repro {stage}` to make it")
    return found[0].removesuffix(".dir")
