"""A sweep's trials as DVC experiments. The module is light, because each Ray worker imports it."""

import csv
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from stages.common import config
from stages.experiments.records.ranges import Sweep
from stages.experiments.records.recipes import Experiment, Recipe
from stages.experiments.running import clones


class Result(NamedTuple):
    """A trial's result on a rung: a score, or the reason why it has none."""

    trial: int
    epochs: int
    score: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Plan:
    """A sweep with the settings of its trials."""

    name: str
    recipe: Recipe
    sweep: Sweep
    drawn: list[dict[str, Any]]
    """Each trial's settings of the parameters with ranges."""
    changes: dict[str, Any]
    """Further settings, the same for all trials."""
    history: str
    """The path of a CSV file with the validation scores of one epoch per row."""
    keep: str
    """Which epoch's weights are kept: last or best."""

    def experiment(self, trial: int, epochs: int | None = None) -> Experiment:
        """Return the experiment of a trial on a rung; without ``epochs`` on the last one, with the sweep's own name."""
        number = str(trial).zfill(len(str(self.sweep.trials - 1)))
        name = self.name if epochs is None else f"{self.name}-t{number}-e{epochs}"
        settings = config.flat(self.recipe.set) | self.changes | self.drawn[trial]
        settings[f"{self.recipe.project}.seed"] = self.recipe.seeds[0]
        settings[f"{self.recipe.project}.epochs"] = epochs or self.sweep.epochs[-1]
        return Experiment(name, self.recipe, settings)

    def score(self, rows: list[dict[str, str]]) -> float:
        """Return the score of the kept weights, from the rows of `history`."""
        row = rows[-1] if self.keep == "last" else min(rows, key=lambda one: float(one["valid_loss"]))
        return float(row[self.sweep.score])


def run_trial(plan: Plan, root: Path, folder: Path, trial: int, epochs: int) -> Result:
    """Run a trial on a rung up to its metrics, in a copy of the tree frozen in ``folder``. Push it to ``root``."""
    experiment = plan.experiment(trial, epochs)
    copy = clones.record(root, folder, experiment, [f"evaluate@{plan.recipe.project}"])
    if copy is None:
        return Result(trial, epochs, None, clones.reason(clones.log(folder, experiment)))
    with (copy / plan.history).open(encoding="utf-8", newline="") as file:
        score = plan.score(list(csv.DictReader(file)))
    shutil.rmtree(copy)
    return Result(trial, epochs, score)
