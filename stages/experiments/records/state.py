"""Find the working tree's commit, and the commit or experiment that its results belong to."""

from typing import NamedTuple

from stages.experiments.records.git import find


class State(NamedTuple):
    """The state of a working tree. ``results`` is `committed`, the name of an experiment, or None for neither."""

    branch: str
    commit: str
    subject: str
    results: str | None


def read() -> State:
    """Return the state of the repository in the working folder. Results with the same dvc.lock count as the same."""
    asked = (("rev-parse", "--abbrev-ref", "HEAD"), ("rev-parse", "--short", "HEAD"), ("log", "-1", "--format=%s"))
    branch, commit, subject = (find(*arguments) or "" for arguments in asked)
    return State("" if branch == "HEAD" else branch, commit, subject, _results())


def _results() -> str | None:
    lock = find("hash-object", "dvc.lock")
    if lock and lock == find("rev-parse", "--quiet", "--verify", "HEAD:dvc.lock"):
        return "committed"
    for reference in (find("for-each-ref", "--format=%(refname)", "refs/exps") or "").splitlines():
        parts = reference.split("/")
        if len(parts) == 5 and lock and lock == find("rev-parse", "--quiet", "--verify", f"{reference}:dvc.lock"):
            return parts[-1]
    return None
