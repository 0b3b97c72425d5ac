"""Compare values of a parameter by the validation scores of a recipe's seeds. Nothing is measured on the test set.

    python -m benchmarks.validation mnist-sgd-dropout-published mnist.sgd.learning_rate 0.01 0.05 0.1 -S data.source=../data [--json FILE]

Each value and seed is trained by itself in a temporary folder. Scores are those of the last epoch.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import measuring
from stages import projects
from stages.experiments import publish
from stages.experiments.records import recipes
from stages.experiments.records.folder import Folder

SCORES = ("valid_loss", "valid_accuracy")


def scores(one: recipes.Experiment, folder: Path) -> dict[str, float]:
    """Train in ``folder`` and return the last epoch's validation scores, and the seconds of the training."""
    publish.run_stages(one, folder, "train")
    project, written = one.recipe.project, Folder(folder)
    history = written.table(projects.about(project).tables["history"])
    assert history  # train ended without an error
    return {name: float(history[-1][name]) for name in SCORES} | {"seconds": written.training(project)["seconds"]}


def main(recipe: str, parameter: str, values: list[str], settings: list[str]) -> dict[str, Any]:
    rows = []
    publish.TEMPORARY.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=publish.TEMPORARY) as folder:
        for value in values:
            changes = recipes.changes([*settings, f"{parameter}={value}"])
            found = [scores(one, Path(folder)) for one in recipes.experiments(recipe, changes)]
            row: dict[str, Any] = {"value": value}
            for name in found[0]:
                each = [one[name] for one in found]
                row[name] = {"mean": round(statistics.mean(each), 6), "lowest": min(each), "highest": max(each)}
            print(row, flush=True)
            rows.append(row)
    best = min(rows, key=lambda row: float(row["valid_loss"]["mean"]))
    return {"recipe": recipe, "parameter": parameter, "settings": settings, "best": best["value"], "values": rows}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe")
    parser.add_argument("parameter", help="dotted name, such as mnist.sgd.learning_rate")
    parser.add_argument("values", nargs="+")
    recipes.add_settings(parser)


if __name__ == "__main__":
    measuring.run(main, arguments)
