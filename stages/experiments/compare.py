"""Compares a project's experiments with each other and with what is published: tables and pictures on one page.

python -m stages.experiments.compare mnist                           the working tree, HEAD's experiments, reports/published/
python -m stages.experiments.compare bikes mnist                     several projects
python -m stages.experiments.compare mnist --experiments a b         only these experiments, of any commit
"""

import argparse
import json
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo

from stages.common import files
from stages.common.program import InputError, run
from stages.experiments import charts, metrics, page, published, recipes, runs, variants
from stages.experiments.metrics import Metric
from stages.experiments.revisions import Revision
from stages.experiments.variants import Spread, Variant

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
    print(f"Page: {FOLDER}/index.html, each picture beside it as PNG and SVG")
    print(
        "Next: dvc exp apply NAME takes an experiment over; make recipes lists more; make compare again adds what is new"
    )


def of_head() -> list[str]:
    """The names of the finished experiments that start from HEAD."""
    try:
        with Repo() as repo:
            return sorted(name for found in repo.experiments.ls().values() for name, _ in found)
    except DvcException as error:
        raise InputError(f"the experiments can't be listed ({error}): run this in the repository's root") from None


def gather(project: str, revisions: list[Revision], named: bool) -> list[Variant]:
    """The project's variants: the working tree, experiments and published results, recipes in the order of recipes.yaml."""
    known = {name: recipe for name, recipe in recipes.read().items() if recipe.project == project}
    base = recipes.flat(Revision("HEAD").parameters())
    found = variants.of_revisions(project, revisions, named, known)
    for name, recipe in known.items():
        if result := published.read(name):
            found.append(variants.of_published(name, result, recipe, base))
    places = {id(recipe): place for place, recipe in enumerate(known.values())}
    return sorted(found, key=lambda one: (one.origin != "workspace", places.get(id(one.recipe), len(places))))


def tell(project: str, found: list[Variant]) -> None:
    """What was compared, on the terminal."""
    kinds = [variant.origin for variant in found]
    experiments = sum(len(variant.runs) for variant in found if variant.origin == "experiment")
    print(
        f"{project}: {'working tree, ' if 'workspace' in kinds else ''}{experiments} experiments in "
        f"{kinds.count('experiment')} variants, {kinds.count('published')} published results"
    )
    if not experiments:
        print(f"  no experiments of {project} yet: dvc exp run -S {project}.seed=1 evaluate@{project} makes one")


def section(project: str, found: list[Variant], known: dict[str, Metric], folder: Path) -> dict[str, Any]:
    """What the page shows of a project; its pictures are written to ``folder``."""
    groups = variants.by_data(found)
    shown = {name: metric for name, metric in known.items() if metric.better and any(one.spread(name) for one in found)}
    pictures = []
    for chart in charts.of(project, groups, known):
        name = f"{project}-{chart.name}"
        charts.save(charts.figure([chart]), folder, name)
        picture = page.inlined((folder / f"{name}.svg").read_bytes(), f"{name}.svg")
        pictures.append({"name": name, "caption": chart.caption, "picture": picture})
    return {
        "name": project,
        "metrics": shown,
        "tables": [table(data, group, shown) for data, group in groups.items()],
        "pictures": pictures,
        "missing": [line for group in groups.values() for variant in group for line in missing(project, variant)],
        "has_experiments": any(variant.origin == "experiment" for variant in found),
    }


def table(data: str, group: list[Variant], shown: dict[str, Metric]) -> dict[str, Any]:
    """The rows on one data."""
    figures = {name: metric for name, metric in shown.items() if any(one.spread(name) for one in group)}
    best = {name: _best(name, metric, group) for name, metric in figures.items()}
    rows = [row(variant, shown, figures, best) for variant in group]
    return {
        "data": data,
        "sample": data == "sample",
        "figures": figures,
        "rows": rows,
        "has_elsewhere": any(line["elsewhere"] for line in rows),
        "has_expected": any(line["expected"] for line in rows),
        "has_parameters": any(line["parameters"] != "-" for line in rows),
    }


def _best(name: str, metric: Metric, group: list[Variant]) -> float | None:
    """The best mean on one data, where there are several to choose from."""
    means = [found.mean for variant in group if (found := variant.spread(name))]
    return (max if metric.better == "higher" else min)(means) if len(means) > 1 else None


def row(
    variant: Variant, shown: dict[str, Metric], figures: dict[str, Metric], best: dict[str, float | None]
) -> dict[str, Any]:
    """One variant, as the page's table has it."""
    cells = []
    for name, metric in figures.items():
        found = variant.spread(name)
        cells.append(
            {
                "text": metric.write(found.mean) if found else "-",
                "best": found is not None and found.mean == best[name],
                "spread": between(metric, found),
            }
        )
    seconds, parameters = variant.seconds(), variant.spread("parameters")
    return {
        "label": variant.label,
        "names": variant.names,
        "origin": variant.origin,
        "description": variant.recipe.description if variant.recipe else "",
        "settings": [f"{name}={_value(value)}" for name, value in sorted(variant.settings.items())],
        "other_code": variant.other_code,
        "figures": cells,
        "elsewhere": [
            elsewhere(variant, name, value, shown) for name, value in variant.elsewhere.items() if name in shown
        ],
        "expected": expectations(variant, shown),
        "seconds": f"{seconds.mean:,.1f}" if seconds else "-",
        "parameters": f"{parameters.mean:,.0f}" if parameters else "-",
        "seeds": ", ".join(str(run.seed) for run in variant.runs),
    }


def between(metric: Metric, found: Spread | None) -> str:
    """From the lowest to the highest seed, and the standard deviation from three seeds on."""
    if found is None or found.number == 1:
        return ""
    deviation = f", sd {metric.write(found.deviation)}" if found.deviation is not None else ""
    return f"{metric.write(found.lowest)} to {metric.write(found.highest)}{deviation}"


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def elsewhere(variant: Variant, name: str, value: float, known: dict[str, Metric]) -> dict[str, Any]:
    """A figure published elsewhere, and the difference of ours, where both are of the same data."""
    metric = known[name]
    found = variant.spread(name)
    gain = 0.0
    if variant.on_sample:
        difference = "other data"
    elif metric.elsewhere:
        difference = f"not comparable: {metric.elsewhere}"
    elif found is None:
        difference = "not measured"
    else:
        gain = metric.gain(value, found.mean)
        difference = format(found.mean - value, f"+{metric.format}").replace("%", " points")
    return {
        "text": f"{metric.title} {metric.write(value)}",
        "difference": difference,
        "judged": "better" if gain > 0 else "worse" if gain < 0 else "",
    }


def expectations(variant: Variant, known: dict[str, Metric]) -> list[dict[str, Any]]:
    """The recipe's bounds, which are of the real data, and whether the mean reaches them."""
    if variant.recipe is None or variant.on_sample:
        return []
    found = []
    for name, bound in variant.recipe.expected.items():
        if name not in known or (reached := variant.spread(name)) is None:
            continue
        metric = known[name]
        found.append(
            {
                "text": f"{metric.title} {'≥' if metric.better == 'higher' else '≤'} {metric.write(bound)}",
                "reached": metric.gain(bound, reached.mean) >= 0,
            }
        )
    return found


def missing(project: str, variant: Variant) -> list[str]:
    """What pictures lack of a variant, and how to get it."""
    lines = []
    for field, path in runs.files_of(project).items():
        without = [str(run.seed) for run in variant.runs if getattr(run, field) is None]
        if not without:
            continue
        if variant.origin == "published":
            recipe, name = variant.label.split(" ")[0], Path(path).name
            lines.append(f"{recipe}: published without {name}; python -m benchmarks.publish {recipe} keeps it")
        else:
            lines.append(
                f"{variant.label}, seed {', '.join(without)}: {path} is not in DVC's cache; dvc pull or the same dvc exp run again brings it"
            )
    return lines


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("projects", nargs="*", metavar="project", help="default: all")
    parser.add_argument("--experiments", nargs="+", metavar="NAME", help="default: those that start from HEAD")


if __name__ == "__main__":
    run(main, arguments)
