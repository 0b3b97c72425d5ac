"""The worked examples of the documentation: what a reader would write is written into a clone, and the commands that follow are run."""

import re
from pathlib import Path

import pytest
from checkouts import Checkout
from conftest import ROOT
from documents import apply, shown

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture
def checkout(results: Checkout, tmp_path: Path) -> Checkout:
    return results.copy(tmp_path)


def follow(document: str, checkout: Checkout) -> str:
    """Write what the document has one write, then run its commands in turn; what they said."""
    path = ROOT / "docs" / document
    apply(path, checkout.root)
    checkout.run("ruff format --check . && ruff check .")
    commands = [re.sub("^make ", "make -o .venv/.installed ", command) for command, _ in shown(path)]
    said = "".join(map(checkout.run, commands))
    assert checkout.run("dvc status") == "Data and pipelines are up to date.\n"
    assert checkout.run("git status --short") == ""
    return said


def test_a_fifth_project_goes_from_its_data_to_a_served_export(checkout: Checkout) -> None:
    said = follow("add-a-project.md", checkout)
    assert re.search(r"reports/wine/metrics.json +(0\.9\d+|1\.0) ", said)
    assert checkout.json("reports/wine/deploy.json")["data"] == "sample"
    assert (checkout.root / "reports/wine/plots/confidence.png").is_file()
    assert re.search("wine: commit [0-9a-f]{7}, the working tree, 1 experiment and", said)
    card = (checkout.root / "models/wine/export/model_card.md").read_text()
    assert "tabular-classification" in card


def test_a_third_network_is_trained_served_and_compared(checkout: Checkout) -> None:
    said = follow("add-a-model.md", checkout)
    assert re.search(r"reports/mnist/metrics.json +accuracy +0\.9", said)
    assert "mnist-lenet" in checkout.run("make -o .venv/.installed recipes")
