"""The trials of a sweep, as DVC experiments. Light to import: each of Ray's workers does."""

import csv
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from stages.experiments.records import recipes
from stages.experiments.records.ranges import Sweep
from stages.experiments.records.recipes import Experiment, Recipe
from stages.experiments.running import clones


class Result(NamedTuple):
    """What a trial reached on a rung: a score, or the reason why it has none."""

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
    """Each trial's settings, of the parameters that have ranges."""
    changes: dict[str, Any]
    """Further settings, the same for all."""
    history: str
    """The path of the file with an epoch's validation scores in a row."""
    keep: str
    """The weights of which epoch are kept: last, best."""

    def experiment(self, trial: int, epochs: int) -> Experiment:
        """A trial on a rung."""
        number = str(trial).zfill(len(str(self.sweep.trials - 1)))
        return self._named(f"{self.name}-t{number}-e{epochs}", trial, epochs)

    def best(self, trial: int) -> Experiment:
        """A trial on the last rung, under the sweep's own name."""
        return self._named(self.name, trial, self.sweep.epochs[-1])

    def _named(self, name: str, trial: int, epochs: int) -> Experiment:
        project = self.recipe.project
        rung = {f"{project}.seed": self.recipe.seeds[0], f"{project}.epochs": epochs}
        return Experiment(name, self.recipe, recipes.flat(self.recipe.set) | self.changes | self.drawn[trial] | rung)

    def score(self, rows: list[dict[str, str]]) -> float:
        """What decides, from the rows of `history`: that of the kept weights."""
        row = rows[-1] if self.keep == "last" else min(rows, key=lambda one: float(one["valid_loss"]))
        return float(row[self.sweep.score])


def reach(plan: Plan, root: Path, place: Path, trial: int, epochs: int) -> Result:
    """Run a trial on a rung, up to its figures, in a copy of what is frozen in ``place``, and record it in the repository ``root``."""
    experiment = plan.experiment(trial, epochs)
    copy = clones.record(root, place, experiment, [f"evaluate@{plan.recipe.project}"])
    if copy is None:
        return Result(trial, epochs, None, clones.reason(clones.log(place, experiment)))
    with (copy / plan.history).open(encoding="utf-8", newline="") as file:
        score = plan.score(list(csv.DictReader(file)))
    shutil.rmtree(copy)
    return Result(trial, epochs, score)
