"""Read the recipes of recipes.yaml: named settings, metrics published elsewhere, and metrics expected here."""

import argparse
import difflib
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import Field, model_validator

from stages.common import config
from stages.common.errors import InputError
from stages.experiments.records.ranges import Sweep

RECIPES = Path("recipes.yaml")


class Recipe(config.Section):
    """One named experiment."""

    project: str
    description: str
    set: dict[str, Any] = Field(description="parameters that differ from params.yaml, by their dotted names")
    seeds: list[int] = Field(min_length=1, description="the seeds over which its metrics are reported")
    published: dict[str, float] = Field(description="metrics of the published run to compare with")
    expected: dict[str, float] = Field(description="bounds that the mean over its seeds reaches on the real data")
    memory: float = Field(gt=0, description="peak GB of a run on the real data, all its processes together")
    sweep: Sweep | None = Field(default=None, description="settings to try in addition to those of `set`")

    @model_validator(mode="after")
    def a_sweep_sets_seed_and_epochs(self) -> "Recipe":
        if self.sweep and len(self.seeds) > 1:
            raise ValueError("one seed for a recipe with a sweep")
        if self.sweep and self.sweep.ranges.keys() & {f"{self.project}.epochs", f"{self.project}.seed"}:
            raise ValueError("ranges of parameters other than epochs and seed, which the sweep sets")
        return self


def read(path: Path = RECIPES) -> dict[str, Recipe]:
    """Return all recipes by name. Raises InputError for an invalid key or value."""
    return {name: config.check(name, Recipe, recipe, path) for name, recipe in config.read(path).items()}


def named(name: str) -> Recipe:
    """Return the recipe called ``name``. Raises InputError with the known names if there is none."""
    recipes = read()
    if name not in recipes:
        raise InputError(f"{name!r} is not a recipe: expected one of {', '.join(recipes)}")
    return recipes[name]


def overrides(settings: dict[str, Any]) -> list[str]:
    """Return ``settings`` as arguments of `dvc exp run`."""
    arguments = []
    for key, value in config.flat(settings).items():
        arguments += ["-S", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return arguments


def applied(parameters: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of ``parameters`` with ``settings`` applied. Raises InputError for an unknown parameter."""
    changed: dict[str, Any] = json.loads(json.dumps(parameters))
    for key, value in config.flat(settings).items():
        group: Any = changed
        *path, last = key.split(".")
        for part in path:
            group = group.get(part) if isinstance(group, dict) else None
        if not isinstance(group, dict) or last not in group:
            close = difflib.get_close_matches(key, config.flat(parameters), 1)
            hint = f"did you mean {close[0]}? {config.PARAMETERS} has all of them" if close else ""
            raise InputError(f"{key} is not a parameter: {hint or f'expected a dotted name from {config.PARAMETERS}'}")
        group[last] = value
    return changed


class Experiment(NamedTuple):
    """A recipe with one of its seeds."""

    name: str
    recipe: Recipe
    settings: dict[str, Any]

    @property
    def seed(self) -> int:
        seed: int = self.settings[f"{self.recipe.project}.seed"]
        return seed

    def threads(self, parameters: dict[str, Any]) -> int | None:
        """Return the threads of its training; None means one per core. It is 1 if the project has no such parameter."""
        threads: int | None = applied(parameters, self.settings)[self.recipe.project].get("threads", 1)
        return threads


def experiments(name: str, changes: dict[str, Any]) -> list[Experiment]:
    """Return a recipe's experiments, one per seed, with the settings ``changes``. The first has the recipe's name.

    Raises InputError for a sweep: its experiments depend on each other's results.
    """
    recipe = named(name)
    if recipe.sweep:
        raise InputError(f"{name} is a sweep: run it with make recipe NAME={name}")
    return [
        Experiment(
            name if seed == recipe.seeds[0] else f"{name}-seed{seed}",
            recipe,
            config.flat(recipe.set) | {f"{recipe.project}.seed": seed} | changes,
        )
        for seed in recipe.seeds
    ]


def changes(assignments: list[str]) -> dict[str, Any]:
    """Parse `key=value` as DVC's `-S` does. Returns values by parameter name; raises InputError for any other form."""
    found = {}
    for assignment in assignments:
        key, _, text = assignment.partition("=")
        if not re.match(r"\S+=", assignment):
            raise InputError(f"-S {assignment} is not a setting: expected key=value, without spaces before the =")
        try:
            found[key] = config.parse(text)
        except yaml.YAMLError:
            cause = f"{text!r} is not valid YAML: is a bracket or quote missing? With make, values in SET can't contain spaces"
            raise InputError(f"-S {assignment} is not a setting: {cause}") from None
    return found


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the option `-S key=value` to a program that runs recipes. Pass its ``settings`` to `changes`."""
    parser.add_argument(
        "-S",
        dest="settings",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a further setting, such as data.source=../data",
    )
