"""Run stages in a folder outside this checkout."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from stages.common import clocks, config, files

ROOT = Path(__file__).parents[1]


def create(folder: Path, changes: dict[str, Any]) -> None:
    """Write this checkout's params.yaml with the ``changes``, merged group by group, to ``folder``, beside its metrics/."""
    parameters = config.merged(config.read(ROOT / config.PARAMETERS), changes)
    (folder / config.PARAMETERS).write_text(yaml.safe_dump(parameters), encoding="utf-8")
    if not (folder / "metrics").exists():  # export puts their meaning into the model card
        (folder / "metrics").symlink_to(ROOT / "metrics")


def absolute(source: str) -> str:
    """Return ``source`` for use from another folder: a folder's absolute path; other values unchanged."""
    return str(Path(source).resolve()) if Path(source).is_dir() else source


def run(folder: Path, project: str, *verbs: str) -> None:
    """Run stages of a project in ``folder``. Raises CalledProcessError if one fails."""
    for verb in verbs:
        with start(["-m", f"stages.{project}.{verb}"], folder) as stage:
            code = stage.wait()
        if code:
            raise subprocess.CalledProcessError(code, stage.args)


def clone(folder: Path) -> None:
    """Clone this commit into ``folder``, with its results.

    Its cache has the files of this checkout's cache but not its runs: DVC would restore an experiment that was run here.
    """
    subprocess.run(["git", "clone", "--quiet", ".", folder], check=True)
    cache = subprocess.check_output(["dvc", "cache", "dir"], text=True).strip()
    shutil.copytree(Path(cache, "files"), folder / ".dvc/cache/files")
    subprocess.run(["dvc", "checkout", "--quiet"], cwd=folder, check=True)


def train(folder: Path, project: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Run a project's train with ``changes`` of the parameters. Returns the clock readings that it reports."""
    create(folder, changes)
    run(folder, project, "train")
    kept = (folder / clocks.FOLDER / f"train@{project}").glob("*.json")
    found: dict[str, Any] = files.read_json(max(kept, key=lambda path: path.stat().st_mtime))
    return found


def seconds_of(command: Sequence[str], folder: Path) -> float:
    """Return the wall seconds of a command in ``folder``. Raises CalledProcessError if it fails."""
    begin = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begin


def start(arguments: list[str], folder: Path, **options: Any) -> subprocess.Popen[bytes]:
    """Start `python ARGUMENTS` in ``folder``, with the stages importable."""
    paths = str(ROOT), os.environ.get("PYTHONPATH")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return subprocess.Popen([sys.executable, *arguments], cwd=folder, env=environment, **options)
