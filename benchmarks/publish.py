"""Runs recipes on real data, over all their seeds, and keeps what they reached in reports/published/.

    python -m benchmarks.publish mnist-adam bikes-best --source ../shared/data
    python -m benchmarks.publish --table             the README's table, from those files

Each seed is a DVC experiment in a temporary copy: the workspace stays as it is.
"""

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dvc.api
import numpy as np

from stages import recipes
from stages.common import files

PUBLISHED = Path("reports/published")
README = Path("README.md")

FIGURES: dict[str, tuple[str, Callable[[float], str]]] = {  # metric: (title, how it is written)
    "accuracy": ("test accuracy", lambda value: f"{100 * value:.2f} %"),
    "loss": ("test loss", lambda value: f"{value:.4f}"),
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
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "hardware": f"{processor()}, {os.cpu_count()} cores",
            "commit": commit,
            "runs": runs,
        }


def processor() -> str:
    """The processor's name as Linux tells it, else its architecture."""
    about = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:\s*(.+)", about.read_text()) if about.exists() else None
    return named[1] if named else platform.machine()


def table(folder: Path = PUBLISHED) -> str:
    """The published results as a Markdown table: mean over the seeds, and the lowest and highest."""
    lines = [
        "| recipe | what | data | figure | published elsewhere | training | seeds | measured |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for path in sorted(folder.glob("*.json")):
        result = files.read_json(path)
        seconds = [run["training"]["seconds"] for run in result["runs"]]
        for metric, (title, write) in FIGURES.items():
            values = [run["metrics"][metric] for run in result["runs"] if metric in run["metrics"]]
            if not values or metric == "loss":
                continue
            spread = f" ({write(min(values))} to {write(max(values))})" if len(values) > 1 else ""
            lines.append(
                f"| `{result['recipe']}` | {result['description']} | {result['runs'][0]['metrics']['data']} "
                f"| {title} **{write(float(np.mean(values)))}**{spread} "
                f"| {write(result['published'][metric]) if metric in result['published'] else ''} "
                f"| {np.mean(seconds):.0f} s | {len(values)} | {result['date']}, {result['hardware']} |"
            )
    return "\n".join(lines)


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
        README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
