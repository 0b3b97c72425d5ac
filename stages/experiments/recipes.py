"""Named experiments: lists recipes.yaml, or runs one of them as a DVC experiment.

python -m stages.experiments.recipes                 what there is
python -m stages.experiments.recipes bikes-best      dvc exp run with that recipe's settings
"""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from stages.common import config
from stages.common.program import InputError

RECIPES = Path("recipes.yaml")


class Recipe(config.Section):
    """One named experiment."""

    project: str
    description: str
    set: dict[str, Any] = Field(description="parameters by their dotted names, as they differ from params.yaml")
    seeds: list[int] = Field(min_length=1, description="the seeds over which its figures are reported")
    published: dict[str, float] = Field(description="the figures of the published run it is to be compared with")


def read(path: Path = RECIPES) -> dict[str, Recipe]:
    """All recipes by name. Raises InputError for a key or value that is not one."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {name: config.check(name, Recipe, recipe, path) for name, recipe in content.items()}


def named(name: str) -> Recipe:
    """The recipe of that name. Raises InputError listing the names there are."""
    recipes = read()
    if name not in recipes:
        raise InputError(f"{name!r} is not a recipe: expected one of {', '.join(recipes)}")
    return recipes[name]


def overrides(settings: dict[str, Any]) -> list[str]:
    """``settings`` as arguments of `dvc exp run`: a mapping is set key by key, lists as a whole."""
    arguments = []
    for key, value in settings.items():
        if isinstance(value, dict):
            arguments += overrides({f"{key}.{inner}": content for inner, content in value.items()})
        else:
            arguments += ["-S", f"{key}={json.dumps(value) if not isinstance(value, str) else value}"]
    return arguments


def main() -> None:
    if len(sys.argv) == 1:
        for name, recipe in read().items():
            print(f"{name:22} {recipe.description}")
        print("\nRun one: make recipe NAME=...")
        return
    if sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return
    recipe = named(sys.argv[1])
    command = ["dvc", "exp", "run", *overrides(recipe.set), f"deploy@{recipe.project}", f"plot@{recipe.project}"]
    print(shlex.join(command))
    sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
