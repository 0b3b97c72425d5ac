"""recipes.yaml: named settings, what they reached elsewhere, and what they are expected to reach here."""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import Field, model_validator

from stages.common import config
from stages.common.program import InputError
from stages.experiments.records.ranges import Sweep

RECIPES = Path("recipes.yaml")


class Recipe(config.Section):
    """One named experiment."""

    project: str
    description: str
    set: dict[str, Any] = Field(description="parameters by their dotted names, as they differ from params.yaml")
    seeds: list[int] = Field(min_length=1, description="the seeds over which its figures are reported")
    published: dict[str, float] = Field(description="the figures of the published run it is to be compared with")
    expected: dict[str, float] = Field(description="what the mean over its seeds reaches or beats on the real data")
    memory: float = Field(gt=0, description="GB that a run on the real data takes at most, all its processes together")
    sweep: Sweep | None = Field(default=None, description="settings to try beside those of `set`")

    @model_validator(mode="after")
    def a_sweep_sets_seed_and_epochs(self) -> "Recipe":
        if self.sweep and len(self.seeds) > 1:
            raise ValueError("one seed where there is a sweep")
        if self.sweep and self.sweep.ranges.keys() & {f"{self.project}.epochs", f"{self.project}.seed"}:
            raise ValueError("ranges of other parameters than epochs and seed, which the sweep sets")
        return self


def read(path: Path = RECIPES) -> dict[str, Recipe]:
    """All recipes by name. Raises InputError for a key or value that is not one."""
    try:
        content = config.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is missing: run this from the project's root") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {error}") from None
    return {name: config.check(name, Recipe, recipe, path) for name, recipe in content.items()}


def named(name: str) -> Recipe:
    """The recipe of that name. Raises InputError listing the names there are."""
    recipes = read()
    if name not in recipes:
        raise InputError(f"{name!r} is not a recipe: expected one of {', '.join(recipes)}")
    return recipes[name]


def flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings by their full dotted names: of a mapping each key, a list as a whole."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            found |= flat({f"{key}.{inner}": content for inner, content in value.items()})
        else:
            found[key] = value
    return found


def overrides(settings: dict[str, Any]) -> list[str]:
    """``settings`` as arguments of `dvc exp run`."""
    arguments = []
    for key, value in flat(settings).items():
        arguments += ["-S", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return arguments


def applied(parameters: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """A copy of ``parameters`` with ``settings``. Raises InputError for one that isn't a parameter."""
    changed: dict[str, Any] = json.loads(json.dumps(parameters))
    for key, value in flat(settings).items():
        group: Any = changed
        *path, last = key.split(".")
        for part in path:
            group = group.get(part) if isinstance(group, dict) else None
        if not isinstance(group, dict) or last not in group:
            raise InputError(f"{key} is not a parameter of {config.PARAMETERS}")
        group[last] = value
    return changed


class Experiment(NamedTuple):
    """A recipe with one of its seeds."""

    name: str
    recipe: Recipe
    settings: dict[str, Any]

    def threads(self, parameters: dict[str, Any]) -> int | None:
        """Those that its training takes; None: one a core. 1 where the project has no such parameter."""
        threads: int | None = applied(parameters, self.settings)[self.recipe.project].get("threads", 1)
        return threads


def experiments(name: str, changes: dict[str, Any]) -> list[Experiment]:
    """What a recipe stands for: one experiment a seed, the first under the recipe's name. ``changes``: further settings.

    Raises InputError for a sweep, whose experiments follow from one another.
    """
    recipe = named(name)
    if recipe.sweep:
        raise InputError(f"{name} is a sweep: make recipe NAME={name} runs it")
    return [
        Experiment(
            name if seed == recipe.seeds[0] else f"{name}-seed{seed}",
            recipe,
            flat(recipe.set) | {f"{recipe.project}.seed": seed} | changes,
        )
        for seed in recipe.seeds
    ]


def changes(assignments: list[str]) -> dict[str, Any]:
    """`key=value`, as DVC's `-S` takes it: parameters by name. Raises InputError for another form."""
    if wrong := [assignment for assignment in assignments if "=" not in assignment]:
        raise InputError(f"-S {wrong[0]} is not a setting: expected key=value")
    return {key: config.parse(text) for key, _, text in (assignment.partition("=") for assignment in assignments)}


def add_settings(parser: argparse.ArgumentParser) -> None:
    """The option `-S key=value` of programs that run recipes; `changes` reads what it gives as ``settings``."""
    parser.add_argument(
        "-S",
        dest="settings",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a further setting: data.source=../data",
    )
