"""Compare a project's experiments with each other and with published results: tables and charts on one page.

python -m stages.experiments.compare mnist                           the working tree, HEAD's experiments, reports/published/
python -m stages.experiments.compare bikes mnist                     several projects
python -m stages.experiments.compare mnist --experiments a b         only these experiments, of any commit
"""

import argparse
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
from stages.experiments.comparing.charts.chart import figure, save
from stages.experiments.comparing.comparison import missing, table
from stages.experiments.comparing.variants import Variant
from stages.experiments.pages import page
from stages.experiments.records import published, recipes
from stages.experiments.records.revisions import Revision
from stages.experiments.report import about_source

FOLDER = Path("reports/compare")


def main(projects: list[str], experiments: list[str] | None) -> None:
    known = metrics.read()
    for project in projects:
        if project not in known:
            raise InputError(f"{project!r} is not a project: expected one of {', '.join(known)}")
    revisions = [Revision(), *map(Revision, experiments if experiments is not None else of_head())]
    chosen = {project: gather(project, revisions, experiments is not None) for project in projects or known}
    with files.new_folder(FOLDER) as folder:
        sections = [section(project, found, known[project], folder) for project, found in chosen.items()]
        page.write(folder / "index.html", "compare.html", projects=sections)
    for project, found in chosen.items():
        tell(project, found)
    print(f"Page: {FOLDER}/index.html. Each chart is in the same folder as PNG and SVG")
    print(
        "Next: dvc exp apply NAME applies an experiment; make recipes lists more; make compare again adds new results"
    )


def of_head() -> list[str]:
    """Return the names of the finished experiments that start from HEAD. Raises InputError if DVC can't list them."""
    try:
        with Repo() as repo:
            return sorted(name for found in repo.experiments.ls().values() for name, _ in found)
    except DvcException as error:
        raise InputError(f"DVC can't list the experiments ({error}): run this in the repository's root") from None


def gather(project: str, revisions: list[Revision], named: bool) -> list[Variant]:
    """Return the project's variants: working tree, experiments and published results, in the order of recipes.yaml."""
    known = {name: recipe for name, recipe in recipes.read().items() if recipe.project == project}
    base = config.flat(Revision("HEAD").parameters())
    found = variants.of_revisions(project, revisions, named, known)
    for name, recipe in known.items():
        if result := published.read(name):
            found.append(variants.of_published(name, result, recipe, base))
    places = {id(recipe): place for place, recipe in enumerate(known.values())}
    return sorted(found, key=lambda one: (one.origin != "workspace", places.get(id(one.recipe), len(places))))


def experiments_in(found: list[Variant]) -> list[str]:
    return [name for variant in found for name in variant.names if name != "workspace"]


def tell(project: str, found: list[Variant]) -> None:
    """Print what was compared."""
    experiments = experiments_in(found)
    published = sum(variant.origin == "published" for variant in found)
    print(
        f"{project}: the working tree, {len(experiments)} experiment{'s' * (len(experiments) != 1)} and {published} published results, "
        f"as {len(found)} variants on {len({variant.data for variant in found})} data sets"
    )
    if not experiments:
        print(f"  no experiments yet; to make one: dvc exp run --temp -S {project}.seed=1 evaluate@{project}")


def section(project: str, found: list[Variant], known: dict[str, Metric], folder: Path) -> dict[str, Any]:
    """Return the page's content for a project, and write its charts to ``folder``."""
    groups = variants.by_data(found)
    shown = {name: metric for name, metric in known.items() if metric.better and any(one.spread(name) for one in found)}
    pictures = []
    for chart in charts.of(project, groups, known):
        name = f"{project}-{chart.name}"
        save(figure([chart]), folder, name)
        picture = page.inlined((folder / f"{name}.svg").read_bytes(), f"{name}.svg")
        pictures.append({"name": name, "caption": chart.caption, "picture": picture})
    return {
        "name": project,
        "metrics": shown,
        "tables": [
            table(data, group, shown) | {"about": about_source(project, data)} for data, group in groups.items()
        ],
        "pictures": pictures,
        "missing": [line for group in groups.values() for variant in group for line in missing(project, variant)],
        "has_experiments": bool(experiments_in(found)),
    }


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("projects", nargs="*", metavar="project", help="default: all")
    parser.add_argument("--experiments", nargs="+", metavar="NAME", help="default: all that start from HEAD")


if __name__ == "__main__":
    run(main, arguments)
