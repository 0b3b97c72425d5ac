"""Print the metrics and write reports/index.html: every project's metrics, plots, data, parameters, times and sizes.

If results are missing, the page shows the command that makes them. Takes 5 s.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

from dvc import cli
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.index import Index
from markdown_it import MarkdownIt
from markupsafe import Markup

from stages.common import config, files
from stages.common.errors import InputError
from stages.common.program import DURATIONS, run
from stages.common.results import metrics
from stages.experiments.pages import captions, page
from stages.experiments.records import recipes, runs
from stages.experiments.records.git import find
from stages.experiments.records.revisions import Revision

PAGE = Path("reports/index.html")
ABSENT = object()


class Cell(NamedTuple):
    """One stage of one project, as it is in the working tree."""

    stage: str
    verb: str
    condition: str  # done | changed: an input changed | missing: an output is missing
    seconds: float | None  # of the last run here
    size: int | None  # bytes of its outputs, from dvc.lock


def grid(repo: Repo) -> dict[str, list[Cell]]:
    """Return the stages by project. Projects and stages are in dvc.yaml's order."""
    try:
        changed = repo.status()
        index: Index = repo.index
    except DvcException as error:
        raise InputError(f"DVC can't read the state of the pipeline: {error}") from None
    sizes = {path: out.get("size", 0) for path, out in Revision().outputs().items()}
    cells: dict[str, list[Cell]] = {}
    for stage in index.stages:
        verb, _, project = stage.addressing.partition("@")
        if not project:
            continue
        paths = [out.def_path for out in stage.outs]
        missing = not all(Path(path).exists() for path in paths)
        duration = DURATIONS / f"{stage.addressing}.json"
        cells.setdefault(project, []).append(
            Cell(
                stage.addressing,
                verb,
                "missing" if missing else "changed" if stage.addressing in changed else "done",
                files.read_json(duration)["seconds"] if duration.exists() else None,
                sum(sizes[path] for path in paths) if sizes.keys() >= set(paths) and not missing else None,
            )
        )
    return cells


def figures(project: str, here: dict[str, Any], head: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a project's metrics as text, those of metrics/ first. ``head`` is None if the commit has the same."""
    known = metrics.read().get(project, {})
    rows = []
    for name in [*(name for name in known if name in here), *(here.keys() - known.keys() - {"data"})]:
        metric = known.get(name) or metrics.Metric(title=name, meaning="")
        before, now = head.get(name), here[name]
        # A metric is None if there is nothing to measure, such as the accuracy on no images.
        gain = metric.gain(before, now) if isinstance(before, int | float) and isinstance(now, int | float) else 0
        rows.append(
            {
                "title": metric.title,
                "meaning": metric.meaning,
                "better": metric.better,
                "value": metric.write(now),
                "head": metric.write(before) if before not in (None, now) else None,
                "gain": gain,
            }
        )
    return rows


def settings(project: str, here: dict[str, Any], head: dict[str, Any]) -> list[dict[str, str | None]]:
    """Return the parameters that a project reads, by dotted name. ``head`` is the commit's value if it differs."""
    wanted = ("data.source", f"data.{project}", project, "deploy.target", f"deploy.{project}")
    now, before = config.flat(here), config.flat(head)
    return [
        {
            "name": name,
            "value": _text(now.get(name, ABSENT)),
            "head": None if now.get(name, ABSENT) == before.get(name, ABSENT) else _text(before.get(name, ABSENT)),
        }
        for name in {**now, **before}
        if any(name == group or name.startswith(f"{group}.") for group in wanted)
    ]


def _text(value: object) -> str:
    return "absent" if value is ABSENT else "null" if value is None else str(value)


def pictures(project: str) -> list[dict[str, str]]:
    """Return a project's plots with their captions."""
    return [
        {
            "title": Path(name).stem.replace("_", " ").capitalize(),
            "caption": caption,
            "url": page.inlined(Path(f"reports/{project}/plots/{name}").read_bytes(), name),
        }
        for name, caption in captions.of_plots(project).items()
    ]


def card(project: str) -> Markup | None:
    """Return the project's model card as HTML, without the lines that only the Hugging Face Hub reads; None if there is none."""
    path = Path(f"models/{project}/export/model_card.md")
    if not path.exists():
        return None
    text = re.sub(r"\A---\n.*?\n---\n", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    deeper = re.sub(r"^#", "###", text, flags=re.MULTILINE)
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(deeper)
    return Markup(html)  # noqa: S704 (markup in the text was escaped)


def row(project: str, cells: list[Cell], here: Revision, head: Revision) -> dict[str, Any]:
    """Return the page's content for one project."""
    values = here.metrics(project)
    source = values.get("data")
    return {
        "name": project,
        "cells": cells,
        "seconds": sum(cell.seconds or 0 for cell in cells),
        "size": sum(cell.size or 0 for cell in cells),
        "source": source,
        "about_source": captions.about_source(project, source) if source else None,
        "headline": [name for name in here.json(f"reports/{project}/metrics.json") or {} if name != "data"],
        "figures": figures(project, values, head.metrics(project)),
        "training": here.training(project),
        "leaderboard": runs.leaderboard(here, project),
        "settings": settings(project, here.parameters(), head.parameters()),
        "pictures": pictures(project),
        "card": card(project),
        "recipes": [name for name, recipe in recipes.read().items() if recipe.project == project],
    }


def state() -> dict[str, str | None]:
    """Return the working tree's branch, commit and its subject, and what its `results` belong to.

    That is `committed`, the name of an experiment, or None for neither. Results with the same dvc.lock count as the same.
    """
    asked = {"branch": "branch --show-current", "commit": "rev-parse --short HEAD", "subject": "log -1 --format=%s"}
    found = {name: find(*arguments.split()) or "" for name, arguments in asked.items()}
    return found | {"results": _results()}


def _results() -> str | None:
    lock = find("hash-object", "dvc.lock")
    if lock and lock == find("rev-parse", "--quiet", "--verify", "HEAD:dvc.lock"):
        return "committed"
    for reference in (find("for-each-ref", "--format=%(refname)", "refs/exps") or "").splitlines():
        parts = reference.split("/")
        if len(parts) == 5 and lock and lock == find("rev-parse", "--quiet", "--verify", f"{reference}:dvc.lock"):
            return parts[-1]
    return None


def main() -> None:
    with Repo() as repo:
        cells = grid(repo)
    cli.main(["metrics", "show"])  # in this process: another one would import DVC again
    here, head = Revision(), Revision("HEAD")
    artifacts = config.read(Path("dvc.yaml")).get("artifacts", {})
    everything = [cell for row_ in cells.values() for cell in row_]
    whats = {project: artifacts.get(project, {}).get("desc", "") for project in cells}
    page.write(
        PAGE,
        "report.html",
        PAGE.parent,
        projects=[row(project, row_, here, head) | {"what": whats[project]} for project, row_ in cells.items()],
        verbs=list(dict.fromkeys(cell.verb for cell in everything)),
        missing=[cell.stage for cell in everything if cell.condition == "missing"],
        changed=[cell.stage for cell in everything if cell.condition == "changed"],
        longest=max([cell.seconds or 0 for cell in everything], default=0) or 1,
        state=state(),
    )
    print(f"\n{PAGE}")


if __name__ == "__main__":
    run(main)
