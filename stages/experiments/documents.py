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
from stages.common.results.metrics import Metric
from stages.experiments.comparing import charts, variants
from stages.experiments.comparing.charts.chart import save
from stages.experiments.comparing.variants import Spread
from stages.experiments.records import published, recipes
from stages.experiments.records.published import PUBLISHED, Published
from stages.experiments.records.recipes import Recipe

README = Path("README.md")
RESULTS = Path("benchmarks/results")


def results() -> dict[str, tuple[Recipe, Published]]:
    """Return the published results and their recipes, in the order of recipes.yaml."""
    found = {name: (recipe, published.read(name)) for name, recipe in recipes.read().items()}
    return {name: (recipe, result) for name, (recipe, result) in found.items() if result is not None}


def table() -> str:
    """Return the published results as a Markdown table: mean over the seeds, with the lowest and highest."""
    known = metrics.read()
    lines = [
        "| recipe | what | data | figures | published elsewhere | training | seeds | date, hardware |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, (recipe, result) in results().items():
        variant = variants.of_published(name, result, recipe, {})
        figures = [
            measured(metric, found)
            for key, metric in known[recipe.project].items()
            if metric.better and (found := variant.spread(key))
        ]
        elsewhere = [written(known[recipe.project][key], value) for key, value in result.published.items()]
        seconds = variant.seconds()
        lines.append(
            f"| `{name}` | {result.description} | `{variant.data}` | {'<br>'.join(figures)} | {'<br>'.join(elsewhere)} "
            f"| {f'{seconds.mean:.0f} s' if seconds else ''} | {len(result.runs)} | {result.date}, {result.hardware} |"
        )
    return "\n".join(lines)


def headlines() -> str:
    """Return a narrow Markdown table of the published results: for each recipe the first metric that was measured."""
    known = metrics.read()
    lines = ["| recipe | here | published elsewhere |", "|---|---|---|"]
    for name, (recipe, result) in results().items():
        variant, own = variants.of_published(name, result, recipe, {}), known[recipe.project]
        here = [
            measured(metric, found) for key, metric in own.items() if metric.better and (found := variant.spread(key))
        ]
        elsewhere = [written(own[key], value) for key, value in result.published.items()]
        lines.append(f"| `{name}` | {here[0]} | {elsewhere[0] if elsewhere else ''} |")
    return "\n".join(lines)


def measured(metric: Metric, found: Spread) -> str:
    spread = f" ({metric.write(found.lowest)} to {metric.write(found.highest)})" if found.number > 1 else ""
    return f"{metric.title} **{metric.write(found.mean)}**{spread}"


def written(metric: Metric, value: float) -> str:
    """Return a metric published elsewhere as text."""
    return f"{metric.title} {metric.write(value)}{f' ({metric.elsewhere})' if metric.elsewhere else ''}"


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
    lines = ["| file | metrics |", "|---|---|"]
    for path in sorted(Path("reports").glob("*/metrics.json")):
        values = ", ".join(f"{name} {value}" for name, value in files.read_json(path).items())
        lines.append(f"| `{path}` | {values} |")
    return "\n".join(lines)


def speed_table() -> str:
    """Return the seconds that DVC, an experiment and a full run take, as Markdown, from the benchmarks' result files."""
    overhead, side, first = (
        files.read_json(RESULTS / f"{name}.json") for name in ("overhead", "side_by_side", "first_experiment")
    )
    experiment = overhead["dvc exp run"]["median"]
    seconds = {
        "`dvc repro` with nothing to do": overhead["dvc repro"]["median"],
        "`dvc status`": overhead["dvc status"]["median"],
        "`dvc metrics diff`": overhead["dvc metrics diff"]["median"],
        "`dvc exp run -S mnist.optimizer=sgd`": experiment,
        "its stages by themselves": overhead["its stages"]["median"],
        "DVC around them": overhead["DVC around them"]["median"],
        "the whole pipeline, one project after the other": side["seconds_one_after_the_other"],
        f"the same, {side['jobs']} projects side by side": side["seconds_side_by_side"],
        "clone to compared experiment: " + ", ".join(f"`{name}`" for name in first["seconds"]): sum(
            first["seconds"].values()
        ),
    }
    lines = ["| what | seconds |", "|---|---|", *(f"| {what} | {value:.1f} |" for what, value in seconds.items())]
    ratios = (
        f"An experiment takes {experiment / overhead['its stages']['median']:.2f} times as long as its stages run by hand. Side by side is "
        f"{side['ratio']:.2f} times as fast; of {side['outputs_compared']} outputs without clock readings {len(side['outputs_differing'])} differ."
    )
    return "\n".join([*lines, "", ratios, "", f"Measured on {side['hardware']}, {side['date']}."])


def ray_table() -> str:
    """Return the measured speed of one and of two workers of a Ray cluster, as a Markdown table."""
    packed, trained = (files.read_json(RESULTS / f"{name}.json") for name in ("ray_featurize", "ray_training"))
    runs = [
        ("featurize", packed["photographs"], int(workers), took["stage"], took["stage"] - took["work"])
        for workers, took in packed["seconds"].items()
    ]
    runs += [
        ("train", row["images"], row["workers"], row["seconds"], row["start_seconds"])
        for row in trained["throughput"]["rows"]
    ]
    lines = ["| stage | photographs | workers | seconds | of these start | photographs a second, then |"]
    lines.append("|---|---|---|---|---|---|")
    for stage, images, workers, seconds, start in runs:
        rate = images / (seconds - start)
        lines.append(f"| {stage} | {images:,} | {workers} | {seconds:.0f} | {start:.0f} | {rate:,.0f} |")
    return "\n".join([*lines, "", f"Measured on landmarks, on {packed['hardware']}, {packed['date']}."])


def settings_table() -> str:
    """Return how much faster or slower each network trains with another setting, as a Markdown table."""
    measured = files.read_json(RESULTS / "settings.json")
    rows = measured["networks"]
    changes = [name for name in next(iter(rows.values())) if name != "images_per_second"]
    lines = [f"| network | images per second | {' | '.join(changes)} |", "|---|---|" + "---|" * len(changes)]
    for name, row in rows.items():
        lines.append(
            f"| {name} | {row['images_per_second']:,.0f} | {' | '.join(f'{row[change]:.2f}' for change in changes)} |"
        )
    return "\n".join([*lines, "", f"Measured on {measured['hardware']}, {measured['date']}."])


def reach_table() -> str:
    """Return which versions of torch load the exports, as a Markdown table."""
    measured = files.read_json(RESULTS / "reach.json")
    forms = ["model.pt", "model.pt2", "model.tar.gz"]
    lines = [f"| torch | {' | '.join(f'`{form}`' for form in forms)} |", "|---|" + "---|" * len(forms)]
    for version, projects in measured["versions"].items():
        cells = []
        for form in forms:
            found = [project[form] for project in projects.values()]
            refused = any("error" in one for one in found)
            worst = 0.0 if refused else max(one["difference"] for one in found)
            cells.append("does not load" if refused else f"within {worst:.0e}" if worst else "the same")
        name = f"{version} (SageMaker's image)" if version == measured["sagemaker"] else version
        lines.append(f"| {name} | {' | '.join(cells)} |")
    ran = f"Written by torch {measured['torch']}; measured on {measured['hardware']}, {measured['date']}."
    return "\n".join([*lines, "", ran])


def int8_table() -> str:
    """Return what 8-bit integers save and cost, as a Markdown table."""
    measured = files.read_json(RESULTS / "int8.json")
    lines = [
        "| project | MB | times as fast, 1 and 32 pictures | validation accuracy | validation pictures with another class | test accuracy | accepted |",
        "|---|---|---|---|---|---|---|",
    ]
    for project, row in measured["projects"].items():
        size = " to ".join(f"{row['bytes'][form] / 1e6:.2f}" for form in ("exact", "int8"))
        faster = " and ".join(f"{ratio:.2f}" for ratio in row["faster"].values())
        valid, test = (f"{row[part]['exact']:.2%} to {row[part]['int8']:.2%}" for part in ("valid", "test"))
        changed = f"{row['changed']} of {row['pictures']['valid']}: at most {row['changed_at_most']:.1%}"
        accepted = "yes" if row["accepted"] else "no"
        lines.append(f"| {project} | {size} | {faster} | {valid} | {changed} | {test} | {accepted} |")
    ran = f"onnxruntime {measured['onnxruntime']}, one thread; measured on {measured['hardware']}, {measured['date']}."
    return "\n".join([*lines, "", ran])


def digits_table() -> str:
    """Return how mnist's exported model reads pictures of each kind, as a Markdown table."""
    measured = files.read_json(RESULTS / "digits.json")
    lines = ["| picture | right | refused | wrong | wrong, above 0.8 |", "|---|---|---|---|---|"]
    kinds = measured["kinds"]
    whole = {name: sum(row[name] for row in kinds.values()) / len(kinds) for name in next(iter(kinds.values()))}
    for kind, row in [*kinds.items(), ("**all**", whole)]:
        lines.append(f"| {kind} | {' | '.join(f'{part:.1%}' for part in row.values())} |")
    lines += ["", "| picture of no digit | refused | read as a digit | as one, above 0.8 |", "|---|---|---|---|"]
    for kind, row in measured["none"].items():
        cells = (row[name] for name in ("refused", "wrong", "wrong_above_0.8"))
        lines.append(f"| {kind} | {' | '.join(f'{part:.1%}' for part in cells)} |")
    about = (
        f"{measured['pictures_of_each_kind']} pictures of each kind, from MNIST's test digits, seed {measured['seed']}. The network's accuracy on "
        f"MNIST's own test images is {measured['accuracy']:.2%}. Measured on {measured['hardware']}, {measured['date']}."
    )
    return "\n".join([*lines, "", about])


def torture_table() -> str:
    """Return what `make torture` tried and found, as a Markdown table."""
    lines = ["| attack | tried | held | lost | found |", "|---|---|---|---|---|"]
    kept = files.read_json(RESULTS / "torture.json")
    for what, row in kept.items():
        found = "; ".join([*row["found"], *row["losses"]])
        lines.append(f"| {what} | {row['tried']:,} | {row['held']:,} | {row['lost']:,} | {found} |")
    where = {
        f"{row['hardware']}, {row['date']}, seed {row['seed']}, beside other work (load average {row['others']})"
        for row in kept.values()
    }
    return "\n".join([*lines, "", f"Measured on {'; '.join(sorted(where))}."])


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
