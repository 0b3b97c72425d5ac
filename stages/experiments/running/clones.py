"""Run DVC experiments in copies of the working tree. Several can run at a time; a kill leaves that tree unchanged.

`dvc exp run --temp` sets the parameters in the working tree, stashes them and restores the old ones. So only one
process can run at a time, and a `kill -9` in between leaves the parameters changed. Each copy here is a separate clone;
a finished experiment is pushed from it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from stages.common import config
from stages.experiments.records import recipes
from stages.experiments.records.git import find, git
from stages.experiments.records.recipes import Experiment
from stages.experiments.running.exclusive import exclusive

RUNS = Path(".dvc/tmp/exps/runs")
"""Per recipe or project: copies of the working tree while experiments run, and their logs, which stay until the next run."""

TEMPLATE = "template"


@contextmanager
def alone(name: str) -> Iterator[Path]:
    """Lock ``name`` and yield a folder for copies and logs. Earlier runs' folders are removed first, the copies at the end.

    Raises InputError if it is already running.
    """
    earlier = RUNS / name
    earlier.mkdir(parents=True, exist_ok=True)
    with exclusive(RUNS / f"{name}.lock", name):
        for run in earlier.iterdir():
            shutil.rmtree(run, ignore_errors=True)  # processes that still write there are about to end
        folder = Path(tempfile.mkdtemp(dir=earlier))
        try:
            yield folder
        finally:
            for copy in [entry for entry in folder.iterdir() if entry.is_dir()]:
                shutil.rmtree(copy, ignore_errors=True)


def room(experiments: list[Experiment], jobs: int | None) -> int:
    """Return how many experiments to run at a time: ``jobs``, or else as many as fit the cores; limited by memory."""
    parameters, cores = config.read(), os.cpu_count() or 1
    threads = max(experiment.threads(parameters) or cores for experiment in experiments)
    memory = max(experiment.recipe.memory for experiment in experiments)
    free = psutil.virtual_memory().available / 1e9
    wanted = min(jobs or max(1, cores // threads), len(experiments))
    held = max(1, int(free / memory))
    if held < wanted:
        print(f"{held} at a time instead of {wanted}: each needs up to {memory:g} GB, and {free:.1f} GB are free")
    return min(wanted, held)


def freeze(folder: Path) -> None:
    """Copy the working tree, with uncommitted changes to tracked files, into ``folder``, unless it has a copy.

    Below `.dvc/tmp/exps/`, files kept between runs (`files.home`) stay in the working tree. Elsewhere the copy is on its own.
    """
    from dvc.repo import Repo  # takes a second to import, which the many processes of `record` do not need

    template = folder / TEMPLATE
    if template.exists():
        return
    git("clone", "--quiet", "--shared", ".", str(template))
    if changes := subprocess.check_output(["git", "diff", "--binary", "HEAD"]):  # bytes: files have any encoding
        subprocess.run(["git", "apply", "--index", "-"], cwd=template, input=changes, check=True)
    for name in ("user.name", "user.email"):
        if value := find("config", name):
            git("config", name, value, folder=template)
    local = Path(".dvc/config.local")
    if local.exists():
        shutil.copy(local, template / local)
    with Repo() as repo, Repo(str(template)) as copy, copy.config.edit("local") as settings:
        settings.setdefault("cache", {})["dir"] = repo.cache.local_cache_dir


def record(
    root: Path | None, folder: Path, experiment: Experiment, targets: Iterable[str], show: bool = False
) -> Path | None:
    """Run the ``targets`` in a copy of the tree frozen in ``folder``. Push the experiment to the repository ``root``, if any.

    Its output goes to its `log`, or with ``show`` to the terminal. Returns the copy, which the caller removes; None if
    the run failed (`reason` of its log gives the cause).
    """
    copy, command, options = prepared(folder, experiment, targets)
    with (
        log(folder, experiment).open("w") as output,
        subprocess.Popen(
            command, **options, stdout=None if show else output, stderr=None if show else output
        ) as process,
    ):
        _running.add(process)
        returncode = process.wait()
        _running.discard(process)
    if returncode:
        shutil.rmtree(copy, ignore_errors=True)
        return None
    if root is None:
        return copy
    references = git("for-each-ref", "--format=%(refname)", "refs/exps", folder=copy).splitlines()
    reference = next(name for name in references if name.endswith(f"/{experiment.name}"))
    git("push", "--quiet", "--force", str(root), reference, folder=copy)
    return copy


def prepared(folder: Path, experiment: Experiment, targets: Iterable[str]) -> tuple[Path, list[str], dict[str, Any]]:
    """Copy the tree frozen in ``folder``. Returns the copy, the command that runs the experiment there, and Popen's options."""
    copy = folder / experiment.name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder / TEMPLATE, copy, symlinks=True)
    dvc = [sys.executable, "-m", "stages.experiments.running.quick_dvc"]
    command, options = tied(
        [*dvc, "exp", "run", "--name", experiment.name, *recipes.overrides(experiment.settings), *targets]
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment.pop("PYTHONPATH", None)  # run the copy's code
    return copy, command, options | {"cwd": copy, "env": environment}


def tied(command: list[str]) -> tuple[list[str], dict[str, Any]]:
    """Return a command that runs ``command``, and Popen's options with which it ends when this process ends for any reason.

    Nothing is written to its pipe, which closes then. It is in a session of its own: what kills this process's group
    leaves it alive to kill ``command``.
    """
    with_parent = [sys.executable, "-m", "stages.experiments.running.with_parent", *command]
    return with_parent, {"stdin": subprocess.PIPE, "start_new_session": True}


_running: set[subprocess.Popen[bytes]] = set()


def stop() -> None:
    """Kill the experiments that this process runs: each ends when its pipe is closed."""
    for process in list(_running):
        assert process.stdin
        process.stdin.close()


def log(folder: Path, experiment: Experiment) -> Path:
    """Return the path of the log with an experiment's output."""
    return folder / f"{experiment.name}.log"


def reason(log: Path) -> str:
    """Return the first error line of a failed run's log."""
    lines = log.read_text(errors="replace").splitlines()
    told = [line for start in ("error: ", "ERROR: ") for line in lines if line.startswith(start)]
    return told[0] if told else "it was killed"
