"""Repositories for tests: copies of this working tree with a history of their own, to run the documented commands in."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import chdir
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from dvc.repo import Repo
from dvc.repo.experiments.executor.base import BaseExecutor
from dvc.stage import PipelineStage

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
TOOLS = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200", "DVC_NO_ANALYTICS": "1"}
ALONE = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",
}
"""The environment of a checkout that has a remote of its own."""


QUICK: dict[str, Any] = {"mnist.known.strangers": 20, "mnist.known.steps": 10}
"""Parameters for tests that train mnist, but are not about its second network, which takes longer than the first."""


class Checkout:
    """A repository with a working tree at ``root``; its commands get ``environment`` besides this process's."""

    def __init__(self, root: Path, environment: Mapping[str, str] | None = None) -> None:
        self.root = root
        self.cache = root / ".dvc/cache/files/md5"
        self.environment = dict(environment or {})
        self.returncode = 0

    def command(self, *command: str) -> dict[str, Any]:
        """Arguments of subprocess for a program with its arguments, or for one line of a shell."""
        return {
            "args": command[0] if len(command) == 1 else command,
            "shell": len(command) == 1,
            "cwd": self.root,
            "env": {**os.environ, **TOOLS, **self.environment},
            "stdin": subprocess.DEVNULL,
        }

    def tried(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command's result, its streams apart."""
        return subprocess.run(**self.command(*command), capture_output=True, text=True, check=False)

    def run(self, *command: str, check: bool = True) -> str:
        """A command's output, both streams together."""
        both: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        done = subprocess.run(**self.command(*command), **both, check=False)
        self.returncode = done.returncode
        if check and done.returncode:
            pytest.fail(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}")
        return str(done.stdout)

    def dvc(self, *arguments: str, check: bool = True) -> str:
        return self.run("dvc", *arguments, check=check)

    def stages(self, settings: Mapping[str, Any], *stages: str) -> None:
        """Set parameters and run ``stages`` in this process, whose results become DVC's: `dvc exp run` in less time."""
        with chdir(self.root), Repo() as repo:
            _run(settings, stages)
            commit(repo, stages[0].partition("@")[2])

    def experiment(self, name: str, settings: Mapping[str, Any], *stages: str) -> None:
        """Add an experiment as `dvc exp run --temp` does, in less time: the working tree is as it was."""
        with chdir(self.root), pytest.MonkeyPatch.context() as patch:
            _run(settings, stages)
            # Unlike `dvc exp run` it would add the files of plots to git.
            patch.setattr(BaseExecutor, "_get_top_level_paths", lambda repo: [])
            project = stages[0].partition("@")[2]
            patch.setattr(Repo, "commit", lambda repo, *_, **__: commit(repo, project))
            Repo().experiments.save(name=name, force=True)  # commits the results, too
        self.restore()

    def json(self, path: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.root / path).read_text())
        return content

    def hashes(self) -> dict[str, str]:
        """Every output's hash in dvc.lock."""
        lock = yaml.safe_load((self.root / "dvc.lock").read_text())
        return {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}

    def restore(self) -> None:
        """Go back to the last commit and its results."""
        self.run("git reset --quiet --hard && git clean -fdq")
        with chdir(self.root):
            Repo().checkout(force=True)

    def copy(self, root: Path) -> "Checkout":
        """Another one, that knows nothing of what a remote has."""
        root.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "--archive", "--reflink=auto", f"{self.root}/.", root], check=True)
        shutil.rmtree(root / ".dvc/tmp", ignore_errors=True)
        return Checkout(root, self.environment)

    def wipe(self) -> None:
        """Remove all that DVC tracks: from the cache and from the working folder."""
        tracked = set(self.run("git", "ls-files").split("\n"))
        for out in self.hashes():
            path = self.root / out
            if out not in tracked and path.exists():
                (shutil.rmtree if path.is_dir() else Path.unlink)(path)
        shutil.rmtree(self.root / ".dvc/cache")
        shutil.rmtree(self.root / ".dvc/tmp", ignore_errors=True)

    def quicken(self) -> None:
        """Shorten the training of mnist's second network, which takes longer than the first, as if all results were of that."""
        path = self.root / "params.yaml"
        short = {name.rpartition(".")[2]: value for name, value in QUICK.items()}
        known = rf"\b({'|'.join(short)}): \d+"
        text, count = re.subn(known, lambda found: f"{found[1]}: {short[found[1]]}", path.read_text())
        assert count == len(short)
        path.write_text(text)
        with chdir(self.root), Repo() as repo:
            commit(repo, "mnist")
        self.run("git commit -q --all --amend --no-edit")

    def objects(self) -> set[str]:
        """The cache's objects, as `d4/1d8cd98f...`."""
        return {path.relative_to(self.cache).as_posix() for path in self.cache.rglob("*") if path.is_file()}

    def start(self) -> None:
        """Commit all that is there as the first commit."""
        self.run("git init -q -b main && git config user.email t@example.org && git config user.name t")
        self.run("git add -A && git commit -qm start")


def _run(settings: Mapping[str, Any], stages: Iterable[str]) -> None:
    set_parameters(Path("params.yaml"), settings)
    for stage in stages:
        verb, project = stage.split("@")
        import_module(f"stages.{project}.{verb}").main()


def commit(repo: Repo, project: str) -> list[PipelineStage]:
    """Let what lies there be the results of a project's stages, as `dvc commit --force` does for all projects; the stages.

    The cache, which other checkouts share, does not get to know them as results of such a run.
    """
    repo.stage_cache.save = lambda stage: None
    with repo.lock:
        stages = [one for one in repo.index.stages if one.addressing.partition("@")[2] in ("", project)]
        for stage in stages:
            stage.save()
            stage.commit()
        stages[0].dvcfile.dump_stages(stages, update_pipeline=False)
    return stages


def set_parameters(file: Path, settings: Mapping[str, Any]) -> None:
    """Change parameters of params.yaml, ``file``, by their dotted names."""
    parameters = yaml.safe_load(file.read_text())
    for name, value in settings.items():
        *groups, key = name.split(".")
        group = parameters
        for part in groups:
            group = group[part]
        group[key] = value
    file.write_text(yaml.safe_dump(parameters))


def make_workspace(folder: Path) -> None:
    """Make ``folder`` a project root to run stages in, with this project's params.yaml and metrics/."""
    shutil.copy(ROOT / "params.yaml", folder)
    shutil.copytree(ROOT / "metrics", folder / "metrics")


def copy_tree(target: Path) -> None:
    """All that git would take of this working tree, as it is now."""
    listed = subprocess.check_output(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, text=True)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    unfinished = shutil.ignore_patterns("*.pyc.*")
    for compiled in (ROOT / "stages").rglob("__pycache__"):  # or each copy would compile all modules again
        if (folder := target / compiled.relative_to(ROOT).parent).is_dir():
            shutil.copytree(compiled, folder / "__pycache__", ignore=unfinished, dirs_exist_ok=True)


def clone(folder: Path) -> Checkout:
    """This working tree, committed in a new repository."""
    copy_tree(folder)
    copy = Checkout(folder)
    copy.start()
    return copy


def processes_in(root: Path) -> list[psutil.Process]:
    """Those that work in a clone, or in one of DVC's copies of it."""
    return [
        one
        for one in psutil.process_iter(["cwd", "cmdline", "name"])
        if Path(one.info["cwd"] or "/").is_relative_to(root)
    ]


def with_results(folder: Path, quick: bool = True) -> Checkout:
    """A clone with this checkout's results, whose cache it shares. ``quick``: mnist trains quickly."""
    copy = clone(folder)
    with Repo(str(folder)).config.edit("local") as settings:
        settings.setdefault("cache", {})["dir"] = Repo(str(ROOT)).cache.local_cache_dir
    Repo(str(folder)).checkout()
    if quick:
        copy.quicken()
    return copy


def mnist_alone(root: Path) -> Checkout:
    """This working tree, of which only mnist is left, with its results in a cache of its own; it trains quickly."""
    copy_tree(root)
    _leave_mnist(root)
    project = Checkout(root, ALONE)
    project.start()
    cache = Path(Repo(str(ROOT)).cache.local.path).parents[1]  # laid out as a remote is
    project.dvc("remote", "add", "--local", "results", str(cache))
    project.dvc("pull", "--remote", "results")
    project.dvc("remote", "remove", "--local", "results")
    project.quicken()
    return project


def _leave_mnist(root: Path) -> None:
    """Remove the other projects from the pipeline of ``root``."""
    pipeline = yaml.safe_load((root / "dvc.yaml").read_text())
    pipeline["vars"] = [{"projects": {"mnist": pipeline["vars"][1]["projects"]["mnist"]}}]
    pipeline["metrics"] = ["reports/mnist/metrics.json"]
    pipeline["plots"] = ["reports/mnist/plots"]
    pipeline["artifacts"] = {"mnist": pipeline["artifacts"]["mnist"]}
    (root / "dvc.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    lock = yaml.safe_load((root / "dvc.lock").read_text())
    lock["stages"] = {name: one for name, one in lock["stages"].items() if name.split("@")[-1] in ("check", "mnist")}
    (root / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))
