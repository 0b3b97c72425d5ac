"""Update the documents' tables and the charts of published results: `make readme-table`.

All numbers are read from files that commands wrote: reports/published/, benchmarks/results/, the metrics, dvc.yaml.
"""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from stages.common import config, files
from stages.common.program import run
from stages.common.results import metrics
from stages.experiments import benchmarked
from stages.experiments.benchmarked import markdown
from stages.experiments.comparing import charts, variants
from stages.experiments.comparing.charts.chart import save
from stages.experiments.comparing.variants import Variant, spread
from stages.experiments.records import published, recipes
from stages.experiments.records.published import PUBLISHED, Published
from stages.experiments.records.recipes import Recipe

README = Path("README.md")


def results() -> dict[str, tuple[Recipe, Published]]:
    """Return the published results and their recipes, in the order of recipes.yaml."""
    return {name: (recipe, found) for name, recipe in recipes.read().items() if (found := published.read(name))}


def table() -> str:
    """Return the published results as a Markdown table: mean over the seeds, with the lowest and highest."""
    rows = []
    for name, (recipe, result) in results().items():
        variant = variants.of_published(name, result, recipe, {})
        seconds = f"{took.mean:.0f} s" if (took := variant.seconds()) else ""
        figures, elsewhere = ("<br>".join(part) for part in figures_of(variant, result))
        what = [f"`{name}`", result.description, f"`{variant.data}`", figures, elsewhere, seconds]
        rows.append([*what, len(result.runs), f"{result.date}, {result.hardware}"])
    titles = ["recipe", "what", "data", "figures", "published elsewhere", "training", "seeds", "date, hardware"]
    return markdown(titles, rows)


def headlines() -> str:
    """Return a narrow Markdown table of the published results: for each recipe the first metric and the headlines."""
    rows = []
    for name, (recipe, result) in results().items():
        variant = variants.of_published(name, result, recipe, {})
        here, elsewhere = figures_of(variant, result, narrow=True)
        data = ", on the sample" if variant.on_sample else ""
        rows.append([f"`{name}`{data}", "<br>".join(here), elsewhere[0] if elsewhere else ""])
    return markdown(["recipe", "here", "published elsewhere"], rows)


def figures_of(variant: Variant, result: Published, narrow: bool = False) -> tuple[list[str], list[str]]:
    """Return a published result's metrics, and those published elsewhere, as text. ``narrow``: only the headlines."""
    assert variant.recipe
    known = metrics.of(variant.recipe.project)
    found = [
        (metric.title, metric, values)
        for name, metric in known.items()
        if metric.better and (values := variant.spread(name))
    ]
    if narrow:
        found = [found[0], *(one for one in found[1:] if one[1].headline)]
    elif "accuracy" in known and not variant.spread("valid_accuracy"):
        last = spread([run.history["valid_accuracy"][-1] for run in result.runs if run.history])
        if last:
            found.insert(1, ("validation accuracy", known["accuracy"], last))
    here = []
    for title, metric, values in found:
        between = f" ({metric.write(values.lowest)} to {metric.write(values.highest)})" if values.number > 1 else ""
        here.append(f"{title} **{metric.write(values.mean)}**{between}")
    elsewhere = []
    for name, value in result.published.items():
        why = f" ({known[name].elsewhere})" if known[name].elsewhere else ""
        elsewhere.append(f"{known[name].title} {known[name].write(value)}{why}")
    return here, elsewhere


def draw(folder: Path = PUBLISHED) -> None:
    """Draw a PNG for each project: its published results, and those published elsewhere."""
    known, found = metrics.read(), results()
    base = config.flat(config.read())
    for project in dict.fromkeys(recipe.project for recipe, _ in found.values()):
        own = [
            variants.of_published(name, result, recipe, base)
            for name, (recipe, result) in found.items()
            if recipe.project == project
        ]
        drawn = [chart for group in variants.by_data(own).values() for chart in charts.of(group, known[project], base)]
        save(drawn, folder / f"{project}.png")


def sample_table() -> str:
    """Return the metrics of the last `dvc repro` as a Markdown table."""
    paths = sorted(Path("reports").glob("*/metrics.json"))
    rows = [
        (f"`{path}`", ", ".join(f"{name} {value}" for name, value in files.read_json(path).items())) for path in paths
    ]
    return markdown(["file", "metrics"], rows)


def graph() -> str:
    """Return DVC's graph of mnist's stages in the Mermaid language, which GitHub draws."""
    shown = subprocess.check_output(["dvc", "dag", "--mermaid"], text=True).splitlines()
    nodes = [line.split("[")[0].strip() for line in shown if "@mnist" in line]
    kept = [line for line in shown if set(re.findall(r"node\d+", line)) <= {*nodes}]
    return "\n".join(["```mermaid", *kept, "```"]).expandtabs(4)


TABLES: dict[Path, dict[str, Callable[[], str]]] = {
    README: {"results": headlines, "sample": sample_table},
    Path("docs/results.md"): {"results": table},
    Path("docs/speed.md"): {
        "speed": benchmarked.speed_table,
        "settings": benchmarked.settings_table,
        "trained": benchmarked.trained_table,
        "automatic": benchmarked.automatic_table,
    },
    Path("docs/architecture.md"): {"graph": graph},
    Path("docs/ray.md"): {"rates": benchmarked.ray_table},
    Path("docs/serving.md"): {
        "reach": benchmarked.reach_table,
        "int8": benchmarked.int8_table,
        "digits": benchmarked.digits_table,
        "torture": benchmarked.torture_table,
        "served": benchmarked.served_table,
    },
}


def with_tables(document: Path) -> str:
    """Return the text of ``document`` with the tables between its marks updated."""
    text = document.read_text(encoding="utf-8")
    for name, made in TABLES[document].items():
        begin, end = f"<!-- {name}: made by `make readme-table` -->", f"<!-- end of {name} -->"
        before, rest = text.split(begin)
        text = f"{before}{begin}\n\n{made()}\n\n{end}{rest.split(end)[1]}"
    return text


def main() -> None:
    draw()
    for document in TABLES:
        text = with_tables(document)
        with files.new_file(document) as partial:
            partial.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run(main)
