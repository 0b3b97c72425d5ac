"""Print the experiments as a table that fits a terminal: their metrics, and the parameters that differ.

`dvc exp show` would have all parameters and dependencies of all projects as columns. Takes a few seconds, and about one
more per experiment.
"""

import argparse
import shutil
from typing import Any, NamedTuple

from dvc.exceptions import DvcException
from dvc.repo import Repo
from rich.console import Console
from rich.table import Table

from stages.common import config
from stages.common.errors import InputError
from stages.common.program import run
from stages.common.results import metrics
from stages.experiments.records.revisions import Revision


class Row(NamedTuple):
    """One line of the table."""

    name: str
    revision: str | None  # None: the working tree
    state: str  # commit | workspace; of an experiment: done | running | queued | failed
    parameters: dict[str, Any]  # by dotted names; empty if DVC can't read them
    figures: dict[str, dict[str, Any]]  # metrics.json by project; empty if it has not finished


class Group(NamedTuple):
    """A commit with its experiments and, for the last commit, the working tree."""

    base: Row
    others: list[Row]


def groups(repo: Repo) -> list[Group]:
    """Return the last commit and all commits that have experiments. Raises InputError if DVC can't list them."""
    try:
        commits = ["HEAD", *repo.experiments.ls(all_commits=True)]
        workspace, *baselines = [baseline.dumpd() for baseline in repo.experiments.show(revs=commits)]
    except DvcException as error:
        raise InputError(f"DVC can't list the experiments: {error}") from None
    found = [Group(_row(one, "commit"), list(map(_experiment, one["experiments"] or []))) for one in baselines]
    found[0].others.insert(0, _row(workspace, "workspace"))
    return found


def _experiment(listed: dict[str, Any]) -> Row:
    state = (listed["executor"] or {"state": "success"})["state"]
    return _row(listed["revs"][0], {"success": "done"}.get(state, state))


def _row(listed: dict[str, Any], state: str) -> Row:
    data = listed["data"] or {"params": {}, "metrics": {}}
    parameters = data["params"].get("params.yaml", {}).get("data") or {}
    measured = {} if state in ("queued", "failed") else data["metrics"]
    figures = {path.split("/")[1]: part.get("data") or {} for path, part in measured.items()}
    revision = None if state == "workspace" else listed["rev"]
    return Row(listed["name"] or listed["rev"][:7], revision, state, config.flat(parameters), figures)


def differences(row: Row, base: Row) -> list[str]:
    """Return `name=value` for each parameter that differs from ``base``."""
    if not row.parameters:
        return []
    return [
        f"{name}={'null' if value is None else str(value).replace(' ', '')}"
        for name in {**base.parameters, **row.parameters}
        if (value := row.parameters.get(name)) != base.parameters.get(name)
    ]


def touched(row: Row, base: Row) -> set[str]:
    """Return the projects whose parameters or metrics differ from ``base``."""
    groups = [name.split("=")[0].split(".") for name in differences(row, base)]
    named = {group[1] if group[0] in ("data", "deploy") else group[0] for group in groups}
    measured = {project for project, figures in row.figures.items() if figures != base.figures.get(project)}
    return measured | named | (set(base.figures) if named & {"source", "target"} else set())


def console() -> Console:
    """Return a console as wide as COLUMNS or the terminal; 120 columns if the output is not a terminal."""
    return Console(width=shutil.get_terminal_size((120, 24)).columns, highlight=False, markup=False)


def titled(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)


def table(listed: list[Group], project: str) -> Table:
    """Return a table of a project's experiments, below the commits that they start from."""
    known = metrics.read()[project]
    rows = [(row, base) for base, others in listed for row in (base, *others)]
    names = [name for name in known if any(name in row.figures.get(project, {}) for row, _ in rows)]
    drawn = titled(project)
    drawn.add_column("experiment", overflow="fold")
    drawn.add_column("state", no_wrap=True)
    for title in (*(known[name].title for name in names), "parameters", "training"):
        drawn.add_column(title, justify="right", no_wrap=True)
    drawn.add_column("differs in", overflow="fold")
    for row, base in rows:
        figures = row.figures.get(project, {})
        size, seconds = _size_and_seconds(row, project) if figures else ("-", "-")
        written = [known[name].write(figures.get(name)) for name in names]
        different = "\n".join(name.removeprefix(f"{project}.") for name in differences(row, base))
        drawn.add_row(row.name, row.state, *written, size, seconds, different)
    return drawn


def _size_and_seconds(row: Row, project: str) -> tuple[str, str]:
    """Return the network's number of parameters and its training time, as text."""
    revision = Revision(row.revision)
    size = (revision.json(f"reports/{project}/details.json") or {}).get("parameters")
    seconds = revision.training(project).get("seconds")
    return "-" if size is None else f"{size:,}", "-" if seconds is None else f"{seconds:.1f} s"


def main(project: str | None) -> None:
    known = metrics.read()
    if project is not None and project not in known:
        raise InputError(f"{project!r} is not a project: expected one of {', '.join(known)}")
    with Repo() as repo:
        listed = groups(repo)
    out = console()
    found = 0
    for name in known if project is None else [project]:
        ours = [Group(base, [row for row in others if name in touched(row, base)]) for base, others in listed]
        if ours := [group for group in ours if group.others]:
            out.print(table(ours, name))
            out.print()
            found += 1
    if not found:
        out.print(
            "No experiments yet: make one with `dvc exp run -S mnist.optimizer=sgd`; `make recipes` lists named ones."
        )


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "project", nargs="?", help="show only this project's experiments (default: all projects with experiments)"
    )


if __name__ == "__main__":
    run(main, arguments)
