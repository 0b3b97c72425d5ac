"""The notebooks, run from the first cell to the last one as Jupyter runs them."""

import shutil
from pathlib import Path

import checkouts
import nbformat
import pytest
from conftest import ROOT
from nbclient import NotebookClient

from stages import projects

NOTEBOOKS = ROOT / "notebooks"
QUICK = checkouts.QUICK | {"mnist.epochs": 2, "scones.epochs": 2}
"""Shorter trainings than by default: what a notebook shows is the same."""


def read(path: Path) -> nbformat.NotebookNode:
    notebook: nbformat.NotebookNode = nbformat.reads(path.read_text(), as_version=4)  # type: ignore[no-untyped-call]
    return notebook


def test_every_project_has_a_notebook_and_none_has_outputs() -> None:
    found = {path.stem: read(path) for path in NOTEBOOKS.glob("*.ipynb")}
    assert found.keys() == set(projects.names())
    for notebook in found.values():
        nbformat.validate(notebook)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert not any(cell.outputs or cell.execution_count for cell in code)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("project", "figures", "answer", "settings"),
    [
        ("bikes", 4, '"count"', QUICK),
        ("mnist", 5, '"probabilities"', QUICK),
        pytest.param("landmarks", 4, "known: False", {}, marks=pytest.mark.long),
        ("scones", 5, '"known"', QUICK),
    ],
    ids=["bikes", "mnist", "landmarks", "scones"],
)
def test_a_notebook_runs_and_leaves_the_pipeline_as_it_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    project: str,
    figures: int,
    answer: str,
    settings: dict[str, object],
) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    checkouts.set_parameters(tmp_path / "params.yaml", settings)
    (tmp_path / "metrics").symlink_to(ROOT / "metrics")
    (tmp_path / "stages").symlink_to(ROOT / "stages")
    folder = tmp_path / "notebooks"
    shutil.copytree(NOTEBOOKS, folder, ignore=shutil.ignore_patterns("scratch"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))

    notebook = read(folder / f"{project}.ipynb")
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()

    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [output for output in outputs if "image/png" in output.get("data", {})]
    text = "".join(output.text for output in outputs if output.output_type == "stream")
    assert len(shown) >= figures
    assert answer in text
    left = {path.name for path in tmp_path.iterdir()} - {"ipython"}
    assert left == {"metrics", "notebooks", "params.yaml", "stages"}
