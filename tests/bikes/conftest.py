"""A small project of bikes, prepared and done."""

import shutil
from pathlib import Path

import pytest
from small_bikes import run_row, set_parameters, use_two_months

from stages.bikes import export, prepare


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with raw data of two months."""
    root = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        set_parameters(root)
        prepare.main()
        use_two_months()
    return root


@pytest.fixture
def untrained(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as the working folder."""
    root = tmp_path / "project"
    shutil.copytree(prepared, root)
    monkeypatch.chdir(root)
    return root


@pytest.fixture(scope="module")
def done(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same project, trained, evaluated and exported. Tests leave it as it is, but for reports."""
    root = tmp_path_factory.mktemp("done") / "project"
    shutil.copytree(prepared, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        run_row(root)
        export.main()
    return root
