"""Clones of this working tree: repositories of their own, to run the documented commands in."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from conftest import ROOT


class Clone:
    """A working copy with a git history of one commit."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, command: str, check: bool = True) -> str:
        """A shell command's output, both streams together."""
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "200",
        }
        done = subprocess.run(
            command,
            shell=True,
            cwd=self.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if check and done.returncode:
            pytest.fail(f"{command}: exit code {done.returncode}\n{done.stdout}")
        self.returncode = done.returncode
        return done.stdout

    def json(self, path: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.root / path).read_text())
        return content

    def hashes(self) -> dict[str, str]:
        """Every output's hash in dvc.lock."""
        lock = yaml.safe_load((self.root / "dvc.lock").read_text())
        return {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}

    def restore(self) -> None:
        self.run("git checkout --quiet . && git clean -fdq stages && dvc checkout --quiet")


def copy_tree(source: Path, target: Path) -> None:
    """All that git would take of the working tree ``source``, as it is now."""
    listed = subprocess.check_output(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=source, text=True)
    for name in filter(None, listed.split("\0")):
        if (source / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)


def clone(folder: Path) -> Clone:
    """This working tree, committed in a new repository."""
    copy_tree(ROOT, folder)
    copy = Clone(folder)
    copy.run("git init -q -b main && git config user.email t@example.org && git config user.name t")
    copy.run("git add -A && git commit -qm start")
    return copy


def processes_in(root: Path) -> list[psutil.Process]:
    """Those that work in a clone, or in one of DVC's copies of it."""
    return [one for one in psutil.process_iter(["cwd", "cmdline"]) if Path(one.info["cwd"] or "/").is_relative_to(root)]


def with_results(folder: Path) -> Clone:
    """A clone with this checkout's results, whose cache it shares (see the fixture `pipeline`)."""
    copy = clone(folder)
    cache = subprocess.check_output([Path(sys.executable).with_name("dvc"), "cache", "dir"], cwd=ROOT, text=True)
    place = (ROOT / cache.strip()).resolve()
    copy.run(f"dvc config --quiet --local cache.dir '{place}' && dvc checkout --quiet")
    return copy
