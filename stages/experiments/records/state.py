"""Find the working tree's commit, and the commit or experiment that its results belong to."""

import subprocess
from typing import NamedTuple


class State(NamedTuple):
    """The state of a working tree. ``results`` is `committed`, the name of an experiment, or None for neither."""

    branch: str
    commit: str
    subject: str
    results: str | None


def read() -> State:
    """Return the state of the repository in the working folder. Results with the same dvc.lock count as the same."""
    branch, commit, subject = (
        _git("rev-parse", "--abbrev-ref", "HEAD"),
        _git("rev-parse", "--short", "HEAD"),
        _git("log", "-1", "--format=%s"),
    )
    return State("" if branch == "HEAD" else branch, commit, subject, _results())


def _results() -> str | None:
    lock = _git("hash-object", "dvc.lock")
    if lock and lock == _git("rev-parse", "--quiet", "--verify", "HEAD:dvc.lock"):
        return "committed"
    for reference in _git("for-each-ref", "--format=%(refname)", "refs/exps").splitlines():
        parts = reference.split("/")
        if len(parts) == 5 and lock and lock == _git("rev-parse", "--quiet", "--verify", f"{reference}:dvc.lock"):
            return parts[-1]
    return None


def _git(*arguments: str) -> str:
    """Return git's output; empty if it fails."""
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip()
