"""Model cards: what counted is in them, what didn't is not, and the same results give the same bytes."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import Change
from markdown_it import MarkdownIt

from stages.bikes import config as bikes
from stages.bikes.hours.columns import COLUMNS
from stages.common import config, files
from stages.common.models import bundle, card
from stages.landmarks import config as landmarks
from stages.mnist import config as mnist
from stages.scones import config as scones

HOURS = {"room": 1.5, "columns": COLUMNS, "ranges": {"temp": [-8.2, 40.18]}, "period": ["2011-07-01", "2012-03-19"]}
REFUSED = {"refused_share": 0.01}
VEHICLES = {"classes": ["bicycle", "motorcycle"], "side": 32, "threshold": 0.94, "share_at_threshold": 0.5}
ROWS: dict[str, tuple[Any, dict[str, Any]]] = {
    "bikes": (bikes, HOURS),
    "mnist": (mnist, REFUSED),
    "landmarks": (landmarks, REFUSED | {"classes": ["tower", "bridge"]}),
    "scones": (scones, REFUSED | VEHICLES),
}
FIGURES = {"accuracy": 0.91234, "loss": 0.25, "rmsle_valid": 0.3}


def written(project: str, source: str = "sample", mistakes: tuple[str, ...] = ()) -> str:
    """The card of a project with made-up figures, the parameters being those of params.yaml."""
    module, about = ROWS[project]
    reports = Path("reports", project)
    files.write_json(reports / "metrics.json", {"data": source, **FIGURES})
    files.write_json(reports / "details.json", {"parameters": 1234})
    data = config.load(f"data.{project}", module.Data)
    groups = {f"data.{project}": data, project: config.load(project, module.Train)}
    own, examples = Path(module.__file__).with_name("card.md"), {"training": 12_345, "validation": 100, "test": 250}
    about = {"data": data, "mistakes": list(mistakes), "tolerance": 1e-5} | about
    card.write(Path("model_card.md"), own, project, groups, examples, **about)
    return Path("model_card.md").read_text()


@pytest.mark.parametrize("source", ["sample", "official", '../photographs: "mine"'])
@pytest.mark.parametrize("project", ROWS)
def test_a_card_has_the_data_source_and_the_metrics(workspace: Path, project: str, source: str) -> None:
    text = written(project, source)
    front = yaml.safe_load(text.split("---\n")[1])
    [result] = front["model-index"][0]["results"]
    assert result["dataset"]["name"] == source
    measured = {one["type"]: one["value"] for one in result["metrics"]}
    expected = ["rmsle_valid"] if project == "bikes" else ["accuracy", "loss"]
    assert measured == {name: FIGURES[name] for name in expected}
    assert ("0.3000" if project == "bikes" else "91.23%") in text
    assert "12,345" in text
    assert f"Source: `{source}`." in text
    assert ("Not for use" in text) == (source == "sample")
    headings = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert headings == ["Intended use", "Out of scope", "Training data", "Training", "Metrics", "Limits", "Verified", "Loading", "Licences"]  # fmt: skip
    assert text == written(project, source)


def test_the_card_of_bikes_describes_the_columns(workspace: Path) -> None:
    text = written("bikes")
    assert "| `temp` | temperature | a number from -60 to 60 °C | -8.2 to 40.18 |" in text
    assert "| `holiday` | holiday | a whole number from 0 to 1 (0 no, 1 yes) |  |" in text


def test_external_text_is_escaped(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = ["<img src=x onerror=alert(1)>", "a\n# heading", "[x](//elsewhere)", "`a` | b", "![x](y)"]
    monkeypatch.setitem(ROWS["landmarks"][1], "classes", hostile)
    text = written("landmarks", "a`\n\n<b>|x", tuple(f"{name} taken for b" for name in hostile))
    plain = written("landmarks", "elsewhere", ("a", "b", "c", "d", "e"))
    render = MarkdownIt("commonmark").enable("table").render
    found, expected = (re.findall("<[^>]*>", render(card.split("---\n", 2)[2])) for card in (text, plain))
    assert found == expected
    assert yaml.safe_load(text.split("---\n")[1])["model-index"][0]["results"][0]["dataset"]["name"] == "a`\n\n<b>|x"


def test_a_card_lists_only_the_selected_parameter_groups(workspace: Path, change: Change) -> None:
    text = written("mnist")
    assert "| `mnist.adam.learning_rate` | `0.003` |" in text
    assert "| `mnist.one_cycle.warmup`" in text
    for other in ("mnist.sgd.", "mnist.cnn.", "mnist.plateau.", "source`"):
        assert f"`{other}" not in text
    change({"mnist.optimizer": "sgd", "mnist.network": "cnn"})
    assert "| `mnist.sgd.momentum` | `0.9` |" in (text := written("mnist"))
    assert "`mnist.adam." not in text
    assert "convolutional" in text
    members = [{"network": "mlp", "optimizer": "sgd"}, {"network": "cnn", "cnn": {"depth": 1}}]
    change({"mnist.optimizer": "adam", "mnist.network": "ensemble", "mnist.ensemble.members": members})
    text = written("mnist")
    assert all(f"`mnist.{name}" in text for name in ("ensemble.members", "mlp.", "cnn.", "adam.", "sgd."))
    assert "`mnist.adamw." not in text
    change({"bikes.models": ["linear", "xgboost"]})
    assert "`bikes.xgboost.rounds`" in (text := written("bikes"))
    assert "`bikes.catboost." not in text
    assert "`scones.sagemaker." not in written("scones")


def test_a_card_names_pretrained_weights(workspace: Path, change: Change) -> None:
    for project, pretrained in (("landmarks", "Initial weights"), ("scones", "Weights: torchvision's")):
        change({f"{project}.network": "residual"})
        assert "The model contains no third-party weights." in written(project)
        change({f"{project}.network": "transfer"})
        assert pretrained in written(project)
        change({f"{project}.network": "ensemble", f"{project}.ensemble.members": [{"network": "transfer"}]})
        assert pretrained in written(project)


def test_mistakes_are_the_most_frequent_ones() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    taken = np.array([1, 1, 0, 1, 0, 2])
    probabilities = np.eye(3, dtype=np.float32)[taken]
    assert card.confusions(probabilities, labels, ["a", "b", "c"]) == ["a taken for b: 2 of 3", "b taken for a: 1 of 2"]
    assert card.confusions(probabilities, labels, ["a", "b", "c"], 1) == ["a taken for b: 2 of 3"]


def test_the_exports_have_their_cards_in_the_archives_too(pipeline: Path, tmp_path: Path) -> None:
    for project in ROWS:
        folder = pipeline / "models" / project / "export"
        bundle.unpack(folder / "model.tar.gz", tmp_path / project)
        text = (folder / "model_card.md").read_text()
        assert (tmp_path / project / "README.md").read_text() == text
        measured = files.read_json(pipeline / "reports" / project / "metrics.json")
        assert f"Source: `{measured['data']}`" in text
