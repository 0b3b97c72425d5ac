"""Runs recipes on real data, over all their seeds, and keeps what they reached in reports/published/.

    python -m benchmarks.publish mnist-adam bikes-best --source ../shared/data
    python -m benchmarks.publish --table             the README's table, from those files

Each seed is a DVC experiment in a temporary copy: the workspace stays as it is.
"""

import argparse
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dvc.api
import matplotlib.pyplot as plt
import numpy as np

from benchmarks import circumstances
from stages.common import files, reporting
from stages.experiments import recipes

PUBLISHED = Path("reports/published")
README = Path("README.md")

BIKES = ["bikes-initial", "bikes-features", "bikes-hpo", "bikes-default", "bikes-best"]
"""The variants, in the order of the story."""

FIGURES: dict[str, tuple[str, Callable[[float], str]]] = {  # metric: (title, how it is written)
    "accuracy": ("test accuracy", lambda value: f"{100 * value:.2f} %"),
    "share_at_threshold": ("share of pictures at or above the threshold", lambda value: f"{100 * value:.2f} %"),
    "accuracy_at_threshold": ("accuracy among those", lambda value: f"{100 * value:.2f} %"),
    "rmsle_valid": ("validation RMSLE", lambda value: f"{value:.4f}"),
    "rmse_valid": ("validation RMSE", lambda value: f"{value:.2f}"),
    "rmsle_test": ("test RMSLE", lambda value: f"{value:.4f}"),
}


def measure(name: str, source: str) -> Iterator[dict[str, Any]]:
    """The metrics of a recipe's seeds on ``source`` with the circumstances; again after each seed, with one run more."""
    recipe = recipes.named(name)
    commit = subprocess.check_output(["git", "rev-parse", "--short=10", "HEAD"], text=True).strip()
    runs = []
    for seed in recipe.seeds:
        settings = {f"data.{recipe.project}.source": source, **recipe.set, f"{recipe.project}.seed": seed}
        experiment = f"{name}-{seed}"
        command = ["dvc", "exp", "run", "--temp", "--force", "--name", experiment, *recipes.overrides(settings)]
        subprocess.run([*command, f"deploy@{recipe.project}"], check=True)
        read = {
            file: json.loads(dvc.api.read(f"reports/{recipe.project}/{file}.json", rev=experiment))
            for file in ("metrics", "training", "latency")
        }
        runs.append({"seed": seed, **read})
        yield {
            "recipe": name,
            "description": recipe.description,
            "settings": recipe.set,
            "published": recipe.published,
            "command": f"python -m benchmarks.publish {name} --source {source}",
            "date": circumstances.today(),
            "hardware": circumstances.hardware(),
            "commit": commit,
            "runs": runs,
        }


def table(folder: Path = PUBLISHED) -> str:
    """The published results as a Markdown table: mean over the seeds, and the lowest and highest."""
    lines = [
        "| recipe | what | data | figure | published elsewhere | training | seeds | date, hardware |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for path in sorted(folder.glob("*.json")):
        result = files.read_json(path)
        seconds = [run["training"]["seconds"] for run in result["runs"]]
        for metric, (title, write) in FIGURES.items():
            values = [run["metrics"][metric] for run in result["runs"] if metric in run["metrics"]]
            if not values:
                continue
            spread = f" ({write(min(values))} to {write(max(values))})" if len(values) > 1 else ""
            lines.append(
                f"| `{result['recipe']}` | {result['description']} | `{result['runs'][0]['metrics']['data']}` "
                f"| {title} **{write(float(np.mean(values)))}**{spread} "
                f"| {write(result['published'][metric]) if metric in result['published'] else ''} "
                f"| {np.mean(seconds):.0f} s | {len(values)} | {result['date']}, {result['hardware']} |"
            )
    return "\n".join(lines)


def draw(folder: Path = PUBLISHED) -> None:
    """bikes.png: the validation score and, where known, Kaggle's score across the variants, beside the published ones."""
    results = [files.read_json(folder / f"{name}.json") for name in BIKES if (folder / f"{name}.json").exists()]
    names = [result["recipe"].removeprefix("bikes-") for result in results]
    ours = [result["runs"][0]["metrics"] for result in results]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    left.plot(names, [metrics["rmse_valid"] for metrics in ours], "o-", label="ours, whole days held out")
    left.plot(
        names, [result["published"].get("rmse_valid") for result in results], "s--", label="published, shuffled hours"
    )
    left.set(title="bikes: best validation score", xlabel="variant", ylabel="RMSE [riders an hour]", ylim=(0, None))
    right.plot(names, [metrics["rmsle_valid"] for metrics in ours], "o-", label="ours, validation days")
    if any("rmsle_test" in metrics for metrics in ours):
        right.plot(names, [metrics.get("rmsle_test") for metrics in ours], "o-", label="ours, test hours")
    right.plot(
        names, [result["published"].get("rmsle_test") for result in results], "s--", label="published, test hours"
    )
    right.set(title="bikes: Kaggle's score", xlabel="variant", ylabel="RMSLE [1]", ylim=(0, None))
    for axis in (left, right):
        axis.legend()
    reporting.save(figure, folder / "bikes.png")


def sample_table() -> str:
    """The metrics of the last `dvc repro`, as Markdown."""
    lines = ["| file | metrics |", "|---|---|"]
    for path in sorted(Path("reports").glob("*/metrics.json")):
        metrics = ", ".join(f"{name} {value}" for name, value in files.read_json(path).items())
        lines.append(f"| `{path}` | {metrics} |")
    return "\n".join(lines)


def with_tables(readme: str) -> str:
    """``readme`` with the tables between their marks renewed."""
    for name, content in (("results", table()), ("sample", sample_table())):
        begin, end = f"<!-- {name}: made by `make readme-table` -->", f"<!-- end of {name} -->"
        before, rest = readme.split(begin)
        readme = f"{before}{begin}\n\n{content}\n\n{end}{rest.split(end)[1]}"
    return readme


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*")
    parser.add_argument("--source", default="official", help="official, a path or a URL (default: %(default)s)")
    parser.add_argument("--table", action="store_true", help="renew the README's table")
    arguments = parser.parse_args()
    for name in arguments.recipes:
        for result in measure(name, arguments.source):
            files.write_json(PUBLISHED / f"{name}.json", result)
    if arguments.table or arguments.recipes:
        draw()
        README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
