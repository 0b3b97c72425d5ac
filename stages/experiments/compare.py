"""Compare a project's experiments with each other and with published results: tables and charts on one page.

python -m stages.experiments.compare mnist                           baseline, working tree, experiments, reports/published/
python -m stages.experiments.compare bikes mnist                     several projects
python -m stages.experiments.compare mnist --experiments a b         only these experiments

The baselines are the last commit and the earlier ones that experiments start from, as `make experiments` lists them.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo

from stages.common import config, files
from stages.common.errors import InputError
from stages.common.program import run
from stages.common.results import metrics
from stages.common.results.metrics import Metric
from stages.experiments.comparing import charts, variants
from stages.experiments.comparing.tables import missing, table
from stages.experiments.comparing.variants import ComparedRevision, Variant
from stages.experiments.pages import captions, page
from stages.experiments.records import published, recipes
from stages.experiments.records.git import git
from stages.experiments.records.revisions import Revision

FOLDER = Path("reports/compare")


def main(projects: list[str], experiments: list[str] | None) -> None:
    known = metrics.read()
    for project in projects:
        if project not in known:
            raise InputError(f"{project!r} is not a project: expected one of {', '.join(known)}")
    found = sources(experiments)
    chosen = {project: gather(project, found, experiments is not None) for project in projects or known}
    with files.new_folder(FOLDER) as folder:
        sections = [section(project, group, known[project]) for project, group in chosen.items()]
        page.write(folder / "index.html", "compare.html", FOLDER, projects=sections, vega=page.vega())
    for project, group in chosen.items():
        print_summary(project, group)
    print(f"Page: {FOLDER}/index.html. The menu of each chart saves it as PNG or SVG")
    print(
        "Next: dvc exp apply NAME applies an experiment; make recipes lists more; make compare again adds new results"
    )


def sources(experiments: list[str] | None) -> list[ComparedRevision]:
    """Return the last commit, the working tree and the finished experiments, then earlier commits with theirs.

    With ``experiments``, return only these experiments or other revisions. Raises InputError for an unknown name.
    """
    head = git("rev-parse", "HEAD")
    first = [_baseline(head), ComparedRevision("workspace", "workspace", Revision())]
    if experiments is not None:
        return [*first, *map(_experiment, experiments)]
    try:
        with Repo() as repo:
            listed = {base: sorted(found) for base, found in repo.experiments.ls(all_commits=True).items()}
    except DvcException as error:
        raise InputError(f"DVC can't list the experiments ({error}): run this in the repository's root") from None
    found = [*first, *(_experiment(*one) for one in listed.pop(head, []))]
    for base, experiments_of in listed.items():
        found += [_baseline(base), *(_experiment(*one) for one in experiments_of)]
    return found


def _experiment(name: str, revision: str | None = None) -> ComparedRevision:
    return ComparedRevision(name, "experiment", Revision(revision or name))


def _baseline(commit: str) -> ComparedRevision:
    return ComparedRevision(f"commit {commit[:7]}", "baseline", Revision(commit))


def gather(project: str, found: list[ComparedRevision], named: bool) -> list[Variant]:
    """Return the project's variants: baselines, working tree and experiments, then published results.

    Published results are in the order of recipes.yaml.
    """
    known = {name: recipe for name, recipe in recipes.read().items() if recipe.project == project}
    base = config.flat(Revision("HEAD").parameters())
    return variants.of_revisions(project, found, known, named) + [
        variants.of_published(name, result, recipe, base)
        for name, recipe in known.items()
        if (result := published.read(name))
    ]


def print_summary(project: str, found: list[Variant]) -> None:
    """Print the number of variants and where they are from."""
    experiments = sum(len(one.names) for one in found if one.origin == "experiment")
    from_elsewhere = sum(one.origin == "published" for one in found)
    *parts, last = [
        *(one.names[0] for one in found if one.origin == "baseline"),
        *(["the working tree"] if any("workspace" in one.names for one in found) else []),
        f"{experiments} experiment{'s' * (experiments != 1)}",
        f"{from_elsewhere} published result{'s' * (from_elsewhere != 1)}",
    ]
    data = {variant.data for variant in found}
    print(f"{project}: {', '.join(parts)} and {last}, as {len(found)} variants on {len(data)} data sets")
    if not experiments:
        print(f"  no experiments of {project}; to make one: dvc exp run --temp -S {project}.seed=1 evaluate@{project}")


def section(project: str, found: list[Variant], known: dict[str, Metric]) -> dict[str, Any]:
    """Return the page's content for a project."""
    groups = variants.by_data(found)
    shown = {name: metric for name, metric in known.items() if metric.better and any(one.spread(name) for one in found)}
    base = config.flat(Revision("HEAD").parameters())
    return {
        "name": project,
        "metrics": shown,
        "groups": [
            {
                "key": f"{project}-{number}",
                "table": table(data, group, shown) | {"about": captions.about_source(project, data)},
                "charts": [{"chart": chart, "spec": json.dumps(chart.spec)} for chart in charts.of(group, known, base)],
                "published": all(one.origin == "published" for one in group),
            }
            for number, (data, group) in enumerate(groups.items())
        ],
        "missing": [line for group in groups.values() for variant in group for line in missing(project, variant)],
        "has_experiments": any(one.origin == "experiment" for one in found),
    }


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("projects", nargs="*", metavar="project", help="default: all")
    parser.add_argument("--experiments", nargs="+", metavar="NAME", help="default: all that are finished")


if __name__ == "__main__":
    run(main, arguments)
