"""Recipes and published results: every recipe is valid, and no figure stands in the README that no file backs."""

from pathlib import Path

import pytest
from conftest import ROOT

from benchmarks import publish
from stages.bikes.config import check_together
from stages.check import Parameters
from stages.common import config, files
from stages.common.program import InputError
from stages.experiments import published, recipes

RECIPES = recipes.read(ROOT / "recipes.yaml")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_sets_parameters_that_are_valid(name: str) -> None:
    parameters = recipes.applied(config.read(ROOT / "params.yaml"), RECIPES[name].set)
    checked = config.check("", Parameters, parameters)
    check_together(checked.data.bikes.features, checked.bikes)


def test_an_unknown_recipe_is_an_error_that_lists_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(InputError, match="'mnist-cmm' is not a recipe: expected one of bikes-initial, "):
        recipes.named("mnist-cmm")


def test_the_readme_s_figures_are_those_of_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    readme = Path("README.md").read_text(encoding="utf-8")
    assert publish.with_tables(readme) == readme, "run make readme-table"


def test_published_results_are_of_recipes_as_they_are() -> None:
    for path in (ROOT / published.PUBLISHED).glob("*.json"):
        result = files.read_json(path)
        assert result["settings"] == RECIPES[result["recipe"]].set, path
        assert [run["seed"] for run in result["runs"]] == RECIPES[result["recipe"]].seeds, path
