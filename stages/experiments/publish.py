"""Runs recipes on real data, over all their seeds, and keeps what they reached in reports/published/.

    python -m stages.experiments.publish mnist-adam bikes-best -S data.source=../data
    python -m stages.experiments.publish --table             the documents' tables and the pictures, from those files

Each seed is a DVC experiment in a temporary copy, removed once it is read: the workspace and `dvc exp list` stay as they are.
"""

import argparse
import re
import secrets
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from dvc.repo import Repo

from stages.common import config, files, metrics
from stages.common.metrics import Metric
from stages.common.program import InputError, run
from stages.experiments.comparing import charts, variants
from stages.experiments.comparing.charts.chart import figure, save
from stages.experiments.comparing.variants import Spread
from stages.experiments.records import circumstances, published, recipes, runs
from stages.experiments.records.published import PUBLISHED, Published
from stages.experiments.records.recipes import Experiment, Recipe
from stages.experiments.records.revisions import Revision
from stages.experiments.records.runs import Run

README = Path("README.md")
RESULTS = Path("benchmarks/results")


def measure(name: str, recipe: Recipe, changes: dict[str, Any]) -> Iterator[Published]:
    """What a recipe reaches with the ``changes`` of this machine, its data above all; again after each seed, with one run more. Raises InputError where a seed fails."""
    commit = subprocess.check_output(["git", "rev-parse", "--short=10", "HEAD"], text=True).strip()
    done: list[Run] = []
    for one in recipes.experiments(name, changes):
        seed = one.settings[f"{recipe.project}.seed"]
        try:
            done.append(experiment(one, seed))
        except subprocess.CalledProcessError as error:
            kept = f"{PUBLISHED / name}.json holds the seeds before it" if done else "nothing of it is kept"
            raise InputError(
                f"{name}: seed {seed} failed with exit code {error.returncode}, see above: {kept}"
            ) from None
        yield Published(
            recipe=name,
            description=recipe.description,
            settings=recipe.set,
            published=recipe.published,
            changes=changes,
            command=shlex.join(["python", "-m", "stages.experiments.publish", name, *recipes.overrides(changes)]),
            date=circumstances.today(),
            hardware=circumstances.hardware(),
            commit=commit,
            runs=list(done),
        )


def experiment(one: Experiment, seed: int) -> Run:
    """Run all of its project's cells; what it left, of an experiment that is removed again."""
    project, temporary = one.recipe.project, f"publishing-{one.name}-{secrets.token_hex(4)}"
    command = [
        "dvc",
        "exp",
        "run",
        "--temp",
        "--name",
        temporary,
        *recipes.overrides(one.settings),
        f"deploy@{project}",
    ]
    with Repo() as repo:
        try:
            memory = watched(command)
            found = runs.of(Revision(temporary), project, seed)
        finally:
            if any(temporary == listed for some in repo.experiments.ls().values() for listed, _ in some):
                repo.experiments.remove([temporary])
    if found is None:
        raise InputError(f"{one.name} left no metrics")
    return found.model_copy(update={"memory_gb": memory})


def watched(command: list[str]) -> float:
    """Run ``command``; the most memory in GB (10^9 bytes) that it and the processes below it held at once.

    Looked at four times a second; memory that processes share counts for each. Raises CalledProcessError if it fails.
    """
    peak = 0
    with psutil.Popen(command) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(resident, [process, *process.children(recursive=True)])))
            time.sleep(0.25)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return round(peak / 1e9, 3)


def resident(process: psutil.Process) -> int:
    """Bytes in memory; 0 for a process that has just ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def results() -> dict[str, tuple[Recipe, Published]]:
    """The published results and their recipes, in the order of recipes.yaml."""
    found = {name: (recipe, published.read(name)) for name, recipe in recipes.read().items()}
    return {name: (recipe, result) for name, (recipe, result) in found.items() if result is not None}


def table() -> str:
    """The published results as a Markdown table: mean over the seeds, and the lowest and highest."""
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
    """The published results as a narrow Markdown table: of each recipe its project's first metric that was measured."""
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
    """A figure published elsewhere."""
    return f"{metric.title} {metric.write(value)}{f' ({metric.elsewhere})' if metric.elsewhere else ''}"


def draw(folder: Path = PUBLISHED) -> None:
    """A picture for each project: its published results beside each other, and beside those published elsewhere."""
    known, found = metrics.read(), results()
    base = recipes.flat(config.read())
    for project in dict.fromkeys(recipe.project for recipe, _ in found.values()):
        own = [
            variants.of_published(name, result, recipe, base)
            for name, (recipe, result) in found.items()
            if recipe.project == project
        ]
        picture = figure(charts.of(project, variants.by_data(own), known[project]))
        save(picture, folder, project, ("png",))


def sample_table() -> str:
    """The metrics of the last `dvc repro`, as Markdown."""
    lines = ["| file | metrics |", "|---|---|"]
    for path in sorted(Path("reports").glob("*/metrics.json")):
        values = ", ".join(f"{name} {value}" for name, value in files.read_json(path).items())
        lines.append(f"| `{path}` | {values} |")
    return "\n".join(lines)


def speed_table() -> str:
    """What DVC, an experiment and a whole run cost, as Markdown, from the files of the benchmarks that measured it."""
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
    """What one and two workers of a Ray cluster were measured to do, as Markdown."""
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
    ran = packed["circumstances"]
    return "\n".join([*lines, "", f"Measured on landmarks, on {ran['hardware']}, {ran['date']}."])


def graph() -> str:
    """A row of the pipeline as DVC knows it, in Mermaid's language, which GitHub draws."""
    shown = subprocess.check_output(["dvc", "dag", "--mermaid"], text=True).splitlines()
    nodes = [line.split("[")[0].strip() for line in shown if "@mnist" in line]
    kept = [line for line in shown if set(re.findall(r"node\d+", line)) <= {*nodes}]
    return "\n".join(["```mermaid", *kept, "```"]).expandtabs(4)


TABLES: dict[Path, dict[str, Callable[[], str]]] = {
    README: {"results": headlines, "sample": sample_table},
    Path("docs/results.md"): {"results": table},
    Path("docs/speed.md"): {"speed": speed_table},
    Path("docs/architecture.md"): {"graph": graph},
    Path("docs/ray.md"): {"rates": ray_table},
}


def with_tables(document: Path) -> str:
    """The text of ``document`` with the tables between their marks renewed."""
    text = document.read_text(encoding="utf-8")
    for name, made in TABLES[document].items():
        begin, end = f"<!-- {name}: made by `make readme-table` -->", f"<!-- end of {name} -->"
        before, rest = text.split(begin)
        text = f"{before}{begin}\n\n{made()}\n\n{end}{rest.split(end)[1]}"
    return text


def main(names: list[str], settings: list[str], table: bool) -> None:
    changes = recipes.changes(settings)
    chosen = {name: recipes.named(name) for name in names}
    if not chosen and not table:
        raise InputError("nothing to do: name recipes (make recipes lists them), or --table")
    failures = []
    for name, recipe in chosen.items():
        try:
            for result in measure(name, recipe, changes):
                published.write(result)
        except InputError as error:
            failures.append(str(error))
    draw()
    for document in TABLES:
        text = with_tables(document)
        with files.new_file(document) as partial:
            partial.write_text(text, encoding="utf-8")
    if failures:
        raise InputError("; ".join(failures))


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="recipe")
    recipes.add_settings(parser)
    parser.add_argument("--table", action="store_true", help="only renew the documents' tables and the pictures")


if __name__ == "__main__":
    run(main, arguments)
