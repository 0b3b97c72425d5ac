"""Repositories for tests: copies of this working tree with a history of their own, to run the documented commands in."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from conftest import ROOT
from dvc.repo import Repo

BIN = Path(sys.executable).parent
TOOLS = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200", "DVC_NO_ANALYTICS": "1"}
ALONE = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",
}
"""The environment of a checkout that has a remote of its own."""


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
        done = subprocess.run(
            **self.command(*command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        self.returncode = done.returncode
        if check and done.returncode:
            pytest.fail(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}")
        return str(done.stdout)

    def dvc(self, *arguments: str, check: bool = True) -> str:
        return self.run("dvc", *arguments, check=check)

    def experiment(self, *arguments: str) -> None:
        """Run an experiment as `dvc exp run` does, in less time."""
        self.run("python", "-m", "stages.experiments.running.quick_dvc", "exp", "run", "--quiet", *arguments)

    def json(self, path: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.root / path).read_text())
        return content

    def hashes(self) -> dict[str, str]:
        """Every output's hash in dvc.lock."""
        lock = yaml.safe_load((self.root / "dvc.lock").read_text())
        return {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}

    def restore(self) -> None:
        self.run("git checkout --quiet . && git clean -fdq stages && dvc checkout --quiet")

    def copy(self, root: Path) -> "Checkout":
        """Another one, that knows nothing of what a remote has."""
        shutil.copytree(self.root, root, symlinks=True)
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

    def objects(self) -> set[str]:
        """The cache's objects, as `d4/1d8cd98f...`."""
        return {path.relative_to(self.cache).as_posix() for path in self.cache.rglob("*") if path.is_file()}

    def start(self) -> None:
        """Commit all that is there as the first commit."""
        self.run("git init -q -b main && git config user.email t@example.org && git config user.name t")
        self.run("git add -A && git commit -qm start")


def copy_tree(source: Path, target: Path) -> None:
    """All that git would take of the working tree ``source``, as it is now."""
    listed = subprocess.check_output(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=source, text=True)
    for name in filter(None, listed.split("\0")):
        if (source / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)


def clone(folder: Path) -> Checkout:
    """This working tree, committed in a new repository."""
    copy_tree(ROOT, folder)
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


def with_results(folder: Path) -> Checkout:
    """A clone with this checkout's results, whose cache it shares (see the fixture `pipeline`)."""
    copy = clone(folder)
    cache = subprocess.check_output([Path(sys.executable).with_name("dvc"), "cache", "dir"], cwd=ROOT, text=True)
    place = (ROOT / cache.strip()).resolve()
    copy.run(f"dvc config --quiet --local cache.dir '{place}' && dvc checkout --quiet")
    return copy


def mnist_alone(pipeline: Path, root: Path) -> Checkout:
    """A new one in ``root``, of the checkout ``pipeline`` and its results, which is only read."""
    copy_tree(pipeline, root)
    _leave_mnist(root)
    project = Checkout(root, ALONE)
    project.start()
    cache = Path(Repo(str(pipeline)).cache.local.path).parents[1]  # laid out as a remote is
    project.dvc("remote", "add", "--local", "results", str(cache))
    project.dvc("pull", "--remote", "results")
    project.dvc("remote", "remove", "--local", "results")
    return project


def _leave_mnist(root: Path) -> None:
    """Take the other rows out of the pipeline of ``root``."""
    pipeline = yaml.safe_load((root / "dvc.yaml").read_text())
    pipeline["vars"] = [{"row": {"mnist": pipeline["vars"][1]["row"]["mnist"]}}]
    pipeline["metrics"] = ["reports/mnist/metrics.json"]
    pipeline["plots"] = ["reports/mnist/plots"]
    pipeline["artifacts"] = {"mnist": pipeline["artifacts"]["mnist"]}
    (root / "dvc.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    lock = yaml.safe_load((root / "dvc.lock").read_text())
    lock["stages"] = {
        name: stage for name, stage in lock["stages"].items() if name.split("@")[-1] in ("check", "mnist")
    }
    (root / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))
