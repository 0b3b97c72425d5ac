"""Update the documents' tables and the charts of published results: `make readme-table`.

All numbers are read from files that commands wrote: reports/published/, benchmarks/results/, the metrics, dvc.yaml.
"""

import re
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.common import config, files
from stages.common.program import run
from stages.common.results import metrics
from stages.experiments.comparing import charts, variants
from stages.experiments.comparing.charts.chart import save
from stages.experiments.comparing.variants import Variant, spread
from stages.experiments.records import published, recipes
from stages.experiments.records.published import PUBLISHED, Published
from stages.experiments.records.recipes import Recipe

README = Path("README.md")
RESULTS = Path("benchmarks/results")


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
    elif last := spread(
        [run.history["valid_accuracy"][-1] for run in result.runs if run.history and "accuracy" in known]
    ):
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


def markdown(titles: Sequence[str], rows: Iterable[Sequence[object]], *about: str) -> str:
    """Return a Markdown table, and the paragraphs ``about`` it."""
    head, *lines = [f"| {' | '.join(map(str, row))} |" for row in (titles, *rows)]
    table = "\n".join([head, "|---" * len(titles) + "|", *lines])
    return "\n\n".join([table, *about])


def read(benchmark: str) -> Any:
    return files.read_json(RESULTS / f"{benchmark}.json")


def where(measured: Mapping[str, Any]) -> str:
    return f"{measured['hardware']}, {measured['date']}."


def percent(row: Mapping[str, float], names: Iterable[str]) -> list[str]:
    return [f"{row[name]:.1%}" for name in names]


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


def speed_table() -> str:
    """Return the seconds that DVC, an experiment and a full run take, as Markdown, from the benchmarks' result files."""
    overhead, side, first = read("overhead"), read("side_by_side"), read("first_experiment")["seconds"]
    named = {
        "`dvc repro` with nothing to do": "dvc repro",
        "`dvc status`": "dvc status",
        "`dvc metrics diff`": "dvc metrics diff",
        "`dvc exp run -S mnist.optimizer=sgd`": "dvc exp run",
        "its stages by themselves": "its stages",
        "DVC around them": "DVC around them",
    }
    seconds = {title: overhead[name]["median"] for title, name in named.items()} | {
        "the whole pipeline, one project after the other": side["seconds_one_after_the_other"],
        f"the same, {side['jobs']} projects side by side": side["seconds_side_by_side"],
        f"clone to compared experiment: {', '.join(f'`{name}`' for name in first)}": sum(first.values()),
    }
    ratios = (
        f"An experiment takes {overhead['dvc exp run']['median'] / overhead['its stages']['median']:.2f} times as long as its stages run by hand. Side by side is "
        f"{side['ratio']:.2f} times as fast; of {side['outputs_compared']} outputs without clock readings {len(side['outputs_differing'])} differ."
    )
    rows = [(what, f"{value:.1f}") for what, value in seconds.items()]
    return markdown(["what", "seconds"], rows, ratios, f"Measured on {where(side)}")


def ray_table() -> str:
    """Return the measured speed of one and of two workers of a Ray cluster, as a Markdown table."""
    packed, trained = read("ray_featurize"), read("ray_training")
    runs = [
        ("featurize", packed["photographs"], int(workers), took["stage"], took["stage"] - took["work"])
        for workers, took in packed["seconds"].items()
    ]
    runs += [
        ("train", row["images"], row["workers"], row["seconds"], row["start_seconds"])
        for row in trained["throughput"]["rows"]
    ]
    rows = [
        (stage, f"{images:,}", workers, f"{seconds:.0f}", f"{start:.0f}", f"{images / (seconds - start):,.0f}")
        for stage, images, workers, seconds, start in runs
    ]
    titles = ["stage", "photographs", "workers", "seconds", "of these start", "photographs a second, then"]
    return markdown(titles, rows, f"Measured on landmarks, on {where(packed)}")


def settings_table() -> str:
    """Return how much faster or slower each network trains with another setting, as a Markdown table."""
    measured = read("settings")
    networks = measured["networks"]
    _, *changes = next(iter(networks.values()))
    rows = []
    for name, row in networks.items():
        speed, *ratios = row.values()
        rows.append((name, f"{speed:,.0f}", *(f"{ratio:.2f}" for ratio in ratios)))
    return markdown(["network", "images per second", *changes], rows, f"Measured on {where(measured)}")


def reach_table() -> str:
    """Return which versions of torch load the exports, as a Markdown table."""
    measured, rows = read("reach"), []
    forms = ["model.pt", "model.pt2", "model.tar.gz"]
    for version, projects in measured["versions"].items():
        cells = []
        for form in forms:
            found = [project[form] for project in projects.values()]
            refused = any("error" in one for one in found)
            worst = 0.0 if refused else max(one["difference"] for one in found)
            cells.append("does not load" if refused else f"within {worst:.0e}" if worst else "the same")
        rows.append([f"{version} (SageMaker's image)" if version == measured["sagemaker"] else version, *cells])
    titles = ["torch", *(f"`{form}`" for form in forms)]
    return markdown(titles, rows, f"Written by torch {measured['torch']}; measured on {where(measured)}")


def int8_table() -> str:
    """Return what 8-bit integers save and cost, as a Markdown table."""
    measured, rows = read("int8"), []
    for project, row in measured["projects"].items():
        size = " to ".join(f"{row['bytes'][form] / 1e6:.2f}" for form in ("exact", "int8"))
        faster = " and ".join(f"{ratio:.2f}" for ratio in row["faster"].values())
        valid, test = (f"{row[part]['exact']:.2%} to {row[part]['int8']:.2%}" for part in ("valid", "test"))
        changed = f"{row['changed']} of {row['pictures']['valid']}: at most {row['changed_at_most']:.1%}"
        rows.append((project, size, faster, valid, changed, test, "yes" if row["accepted"] else "no"))
    titles = ["project", "MB", "times as fast, 1 and 32 pictures", "validation accuracy"]
    titles += ["validation pictures with another class", "test accuracy", "accepted"]
    return markdown(titles, rows, f"onnxruntime {measured['onnxruntime']}, one thread; measured on {where(measured)}")


def digits_table() -> str:
    """Return how mnist's exported model reads pictures of each kind, as a Markdown table."""
    measured = read("digits")
    kinds = measured["kinds"]
    names = ["right", "refused", "wrong", "wrong_above_0.8"]
    whole = {name: sum(row[name] for row in kinds.values()) / len(kinds) for name in names}
    rows = [(kind, *percent(row, names)) for kind, row in [*kinds.items(), ("**all**", whole)]]
    of_none = [(kind, *percent(row, names[1:])) for kind, row in measured["none"].items()]
    about = (
        f"{measured['pictures_of_each_kind']} pictures of each kind, from MNIST's test digits, seed {measured['seed']}. The network's accuracy on "
        f"MNIST's own test images is {measured['accuracy']:.2%}. Measured on {where(measured)}"
    )
    none = markdown(["picture of no digit", "refused", "read as a digit", "as one, above 0.8"], of_none)
    return markdown(["picture", "right", "refused", "wrong", "wrong, above 0.8"], rows, none, about)


def torture_table() -> str:
    """Return what `make torture` tried and found, as a Markdown table."""
    kept = read("torture")
    rows = [
        (what, *(f"{row[name]:,}" for name in ("tried", "held", "lost")), "; ".join([*row["found"], *row["losses"]]))
        for what, row in kept.items()
    ]
    places = {
        f"{row['hardware']}, {row['date']}, seed {row['seed']}, beside other work (load average {row['others']})"
        for row in kept.values()
    }
    return markdown(["attack", "tried", "held", "lost", "found"], rows, f"Measured on {'; '.join(sorted(places))}.")


def graph() -> str:
    """Return DVC's graph of mnist's stages in the Mermaid language, which GitHub draws."""
    shown = subprocess.check_output(["dvc", "dag", "--mermaid"], text=True).splitlines()
    nodes = [line.split("[")[0].strip() for line in shown if "@mnist" in line]
    kept = [line for line in shown if set(re.findall(r"node\d+", line)) <= {*nodes}]
    return "\n".join(["```mermaid", *kept, "```"]).expandtabs(4)


TABLES: dict[Path, dict[str, Callable[[], str]]] = {
    README: {"results": headlines, "sample": sample_table},
    Path("docs/results.md"): {"results": table},
    Path("docs/speed.md"): {"speed": speed_table, "settings": settings_table},
    Path("docs/architecture.md"): {"graph": graph},
    Path("docs/ray.md"): {"rates": ray_table},
    Path("docs/serving.md"): {
        "reach": reach_table,
        "int8": int8_table,
        "digits": digits_table,
        "torture": torture_table,
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
