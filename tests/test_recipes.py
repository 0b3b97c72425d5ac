"""Recipes and published results: every recipe is valid, and no figure stands in the README that no file backs."""

from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from benchmarks import publish
from stages.bikes.config import check_together
from stages.check import Parameters
from stages.common import config, files
from stages.common.program import InputError
from stages.experiments import recipes

RECIPES = recipes.read(ROOT / "recipes.yaml")


def applied(parameters: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """``parameters`` as they are when `-S` has set ``settings``."""
    for key, value in settings.items():
        group = parameters
        *path, last = key.split(".")
        for part in path:
            group = group[part]
        if isinstance(value, dict):
            applied(group[last], value)
        else:
            assert last in group, key
            group[last] = value
    return parameters


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_sets_parameters_that_are_valid(name: str) -> None:
    parameters = applied(config.read(ROOT / "params.yaml"), RECIPES[name].set)
    checked = config.check("", Parameters, parameters)
    check_together(checked.data.bikes.features, checked.bikes)


def test_overrides_are_set_key_by_key() -> None:
    settings = {"mnist": {"network": "cnn", "threads": None}, "bikes.models": ["linear"], "mnist.augment": True}
    assert recipes.overrides(settings) == [
        *("-S", "mnist.network=cnn", "-S", "mnist.threads=null"),
        *("-S", 'bikes.models=["linear"]', "-S", "mnist.augment=true"),
    ]


def test_an_unknown_recipe_is_an_error_that_lists_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(InputError, match="'mnist-cmm' is not a recipe: expected one of bikes-initial, "):
        recipes.named("mnist-cmm")


def test_the_readme_s_figures_are_those_of_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    readme = Path("README.md").read_text(encoding="utf-8")
    assert publish.with_tables(readme) == readme, "run make readme-table"


def test_published_results_are_of_recipes_as_they_are() -> None:
    for path in (ROOT / publish.PUBLISHED).glob("*.json"):
        result = files.read_json(path)
        assert result["settings"] == RECIPES[result["recipe"]].set, path
        assert [run["seed"] for run in result["runs"]] == RECIPES[result["recipe"]].seeds, path
