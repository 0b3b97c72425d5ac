"""Parameters: typed, unknown keys refused, one line that names key, value and what is allowed."""

import difflib
from pathlib import Path
from typing import Annotated, Literal

import dvc.api
import pytest
from conftest import ROOT
from dvc.utils.hydra import apply_overrides
from pydantic import Field

from stages.common import config
from stages.common.errors import InputError


class Inner(config.Section):
    learning_rate: float = Field(gt=0, le=1)


class Outer(config.Section):
    optimizer: Literal["adam", "sgd"]
    epochs: int = Field(ge=1, le=1000)
    models: Annotated[list[str], Field(min_length=1)]
    adam: Inner
    search: Inner | None


GOOD = {"optimizer": "adam", "epochs": 5, "models": ["gbm"], "adam": {"learning_rate": 0.1}, "search": None}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"optimizer": "sdg"}, ["mnist.optimizer", "'sdg'", "'adam' or 'sgd'"]),
        ({"epochs": -1}, ["mnist.epochs", "-1", "greater than or equal to 1"]),
        ({"epochs": "5"}, ["mnist.epochs", "'5'", "valid integer"]),
        ({"epochs": True}, ["mnist.epochs", "True", "valid integer"]),
        ({"models": []}, ["mnist.models = [] is not allowed: expected at least 1 item"]),
        ({"adam": {"learning_rate": float("nan")}}, ["mnist.adam.learning_rate", "nan", "finite number"]),
        ({"optimiser": "adam"}, ["mnist.optimiser", "did you mean optimizer?", "epochs"]),
        ({"adam": {"learning_rat": 0.1, "learning_rate": 0.1}}, ["mnist.adam.learning_rat", "learning_rate"]),
        ({"search": {"learning_rat": 0.1, "learning_rate": 0.1}}, ["mnist.search.learning_rat", "learning_rate"]),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(change: dict[str, object], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        config.check("mnist", Outer, GOOD | change)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_good_values_become_a_model_and_a_missing_key_is_named() -> None:
    assert config.check("mnist", Outer, GOOD).adam.learning_rate == 0.1
    with pytest.raises(InputError, match="mnist.epochs is missing"):
        config.check("mnist", Outer, {key: value for key, value in GOOD.items() if key != "epochs"})


def test_numbers_are_read_as_dvc_reads_them(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("a: 1e-3\nb: -2.5E+4\nc: 7\nd: .5\ne: 1.2.3\n")
    assert config.read(tmp_path / "params.yaml") == {"a": 0.001, "b": -25000.0, "c": 7, "d": 0.5, "e": "1.2.3"}


def test_a_set_parameter_changes_one_line(workspace: Path) -> None:
    """params.yaml has the form in which DVC writes it, as `dvc exp run -S` and `dvc exp apply` do."""
    path, settings = workspace / "params.yaml", ["mnist.optimizer=sgd", "bikes.threads=null", "data.landmarks.seed=1"]
    for setting in settings:
        before = path.read_text().splitlines()
        apply_overrides(path, [setting])
        changed = list(difflib.unified_diff(before, path.read_text().splitlines(), n=0, lineterm=""))[3:]
        assert [line[0] for line in changed] == ["-", "+"], changed


def test_any_list_can_be_set_to_another(workspace: Path) -> None:
    """DVC writes no valid YAML for some lists that stand in several lines and become empty."""
    path = workspace / "params.yaml"
    lists = {name: value for name, value in config.flat(config.read(path)).items() if isinstance(value, list)}
    assert {"data.scones.classes", "landmarks.transfer.layers"} <= set(lists)
    for name in lists:
        for value, text in (([], "[]"), (["a", "b"], "[a,b]")):
            apply_overrides(path, [f"{name}={text}"])
            assert config.flat(config.read(path))[name] == value


def test_dvc_s_interface_has_the_parameters_by_their_groups() -> None:
    assert dvc.api.params_show(repo=str(ROOT))["mnist"] == config.read(ROOT / "params.yaml")["mnist"]


@pytest.mark.parametrize(("text", "words"), [("a: [", "not valid YAML"), ("- 1", "mapping"), ("", "mapping")])
def test_an_invalid_parameter_file_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(InputError, match=words):
        config.read(tmp_path / "params.yaml")
