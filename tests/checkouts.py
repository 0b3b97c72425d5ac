"""A checkout of the row mnist alone, with its results in a cache of its own: small enough to be pushed, wiped and pulled."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from clones import copy_tree
from dvc.repo import Repo

BIN = Path(sys.executable).parent
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    **{
        f"GIT_{role}_{field}": f"t{at}"
        for role in ("AUTHOR", "COMMITTER")
        for field, at in (("NAME", ""), ("EMAIL", "@example.org"))
    },
}


class Project:
    """A checkout of the row mnist, with a cache of its own that holds all of its results."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cache = root / ".dvc/cache/files/md5"
        self.returncode = 0

    def command(self, *command: str) -> dict[str, Any]:
        return {"args": command, "cwd": self.root, "env": os.environ | ENVIRONMENT, "stdin": subprocess.DEVNULL}

    def run(self, *command: str, check: bool = True) -> str:
        """A command's output, both streams together."""
        done = subprocess.run(
            **self.command(*command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        assert not check or not done.returncode, done.stdout
        self.returncode = done.returncode
        return str(done.stdout)

    def dvc(self, *arguments: str, check: bool = True) -> str:
        return self.run("dvc", *arguments, check=check)

    def copy(self, root: Path) -> "Project":
        """Another one, that knows nothing of what a remote has."""
        shutil.copytree(self.root, root, symlinks=True)
        shutil.rmtree(root / ".dvc/tmp", ignore_errors=True)
        return Project(root)

    def wipe(self) -> None:
        """Remove all that DVC tracks: from the cache and from the working folder."""
        tracked = set(self.run("git", "ls-files").split("\n"))
        lock = yaml.safe_load((self.root / "dvc.lock").read_text())
        for out in [out["path"] for stage in lock["stages"].values() for out in stage["outs"]]:
            path = self.root / out
            if out not in tracked and path.exists():
                (shutil.rmtree if path.is_dir() else Path.unlink)(path)
        shutil.rmtree(self.root / ".dvc/cache")
        shutil.rmtree(self.root / ".dvc/tmp", ignore_errors=True)

    def objects(self) -> set[str]:
        """The cache's objects, as `d4/1d8cd98f...`."""
        return {path.relative_to(self.cache).as_posix() for path in self.cache.rglob("*") if path.is_file()}


def mnist_alone(pipeline: Path, root: Path) -> Project:
    """A new one in ``root``, of the checkout ``pipeline`` and its results, which is only read."""
    copy_tree(pipeline, root)
    _leave_mnist(root)
    project = Project(root)
    project.run("git", "init", "--quiet", "--initial-branch", "main")
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "start")
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
