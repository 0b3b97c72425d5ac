"""Run DVC experiments in copies of the working tree. Several can run at a time; a kill leaves that tree unchanged.

`dvc exp run --temp` sets the parameters in the working tree, stashes them and restores the old ones. So only one
process can run at a time, and a `kill -9` in between leaves the parameters changed. Each copy here is a separate clone;
a finished experiment is pushed from it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from stages.experiments.records import recipes
from stages.experiments.records.recipes import Experiment

TEMPLATE = "template"


def freeze(place: Path) -> None:
    """Copy the working tree, with uncommitted changes to tracked files, into ``place``, unless it has a copy.

    ``place`` is below `.dvc/tmp/exps/`, so that files kept between runs (`files.home`) stay in the working tree.
    """
    from dvc.repo import Repo  # takes a second to import, which the many processes of `record` do not need

    template = place / TEMPLATE
    if template.exists():
        return
    _git(Path.cwd(), "clone", "--quiet", "--shared", ".", str(template))
    if changes := subprocess.check_output(["git", "diff", "--binary", "HEAD"]):
        subprocess.run(["git", "apply", "--index", "-"], cwd=template, input=changes, check=True)
    for name in ("user.name", "user.email"):
        value = subprocess.run(["git", "config", name], capture_output=True, text=True, check=False).stdout.strip()
        if value:
            _git(template, "config", name, value)
    local = Path(".dvc/config.local")
    if local.exists():
        shutil.copy(local, template / local)
    with Repo() as repo, Repo(str(template)) as copy, copy.config.edit("local") as settings:
        settings.setdefault("cache", {})["dir"] = repo.cache.local_cache_dir


def record(root: Path, place: Path, experiment: Experiment, targets: Iterable[str]) -> Path | None:
    """Run the ``targets`` in a copy of the tree frozen in ``place``, and push the experiment to the repository ``root``.

    Returns the copy, which the caller removes; None if the run failed (`reason` of its `log` gives the cause).
    """
    copy = place / experiment.name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(place / TEMPLATE, copy, symlinks=True)
    leash = [sys.executable, "-m", "stages.experiments.running.with_parent"]
    command = ["dvc", "exp", "run", "--name", experiment.name, *recipes.overrides(experiment.settings), *targets]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment.pop("PYTHONPATH", None)  # run the copy's code
    with (
        log(place, experiment).open("w") as output,
        # Nothing is written to the pipe. It closes when this process ends for any reason.
        subprocess.Popen(
            [*leash, *command],
            cwd=copy,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        ) as process,
    ):
        returncode = process.wait()
    if returncode:
        shutil.rmtree(copy, ignore_errors=True)
        return None
    references = _git(copy, "for-each-ref", "--format=%(refname)", "refs/exps").splitlines()
    reference = next(name for name in references if name.endswith(f"/{experiment.name}"))
    _git(copy, "push", "--quiet", "--force", str(root), reference)
    return copy


def log(place: Path, experiment: Experiment) -> Path:
    """Return the path of the log with an experiment's output."""
    return place / f"{experiment.name}.log"


def reason(log: Path) -> str:
    """Return the first error line of a failed run's log."""
    lines = log.read_text(errors="replace").splitlines()
    told = [line for start in ("error: ", "ERROR: ") for line in lines if line.startswith(start)]
    return told[0] if told else "it was killed"


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout
