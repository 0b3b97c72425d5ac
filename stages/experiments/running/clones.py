"""DVC experiments in copies of the working tree: several at a time, and the working tree untouched whatever is killed.

`dvc exp run --temp` sets the parameters in the working tree, stashes them and takes them back: one process at a time, and
a `kill -9` in between leaves them there. A copy is a clone of its own; what has become an experiment in it is pushed.
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
    """Put a copy of the working tree into the folder ``place``, unless there is one: with its uncommitted changes, as git sees them.

    ``place`` is below `.dvc/tmp/exps/`, so that what outlives a run (`files.home`) is the working tree's.
    """
    from dvc.repo import Repo  # a second, which `record` in its many processes need not wait

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
    """Run the ``targets`` in a copy of what is frozen in ``place``; the experiment is then one of the repository ``root``.

    Returns the copy, which the caller removes; None if the run failed (`reason` of its `log` tells why).
    """
    copy = place / experiment.name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(place / TEMPLATE, copy, symlinks=True)
    leash = [sys.executable, "-m", "stages.experiments.running.with_parent"]
    command = ["dvc", "exp", "run", "--name", experiment.name, *recipes.overrides(experiment.settings), *targets]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment.pop("PYTHONPATH", None)  # this copy's code is what runs
    with (
        log(place, experiment).open("w") as output,
        # The pipe is never written to: it closes when this process ends, in whatever way.
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
    """What an experiment wrote."""
    return place / f"{experiment.name}.log"


def reason(log: Path) -> str:
    """The line of a failed run's log that tells why."""
    lines = log.read_text(errors="replace").splitlines()
    told = [line for start in ("error: ", "ERROR: ") for line in lines if line.startswith(start)]
    return told[0] if told else "it was killed"


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout
