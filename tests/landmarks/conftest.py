"""A small data set of landmarks, and an empty source to fill."""

from pathlib import Path

import pytest
from conftest import Change
from small_photographs import configure, write_photographs

from stages.landmarks import prepare
from stages.landmarks.sources.intake.inspection import inspect


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source of photographs: three classes that their colours tell."""
    folder = tmp_path_factory.mktemp("photographs")
    write_photographs(folder)
    return folder


@pytest.fixture
def given(workspace: Path, change: Change, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The source, an empty folder. Photographs are read in this process, which is faster for so few."""
    monkeypatch.setattr(prepare, "inspect_all", lambda paths, most: [inspect(path, most) for path in paths])
    change({"data.landmarks.source": "given"})
    configure(max_refused=1)
    (workspace / "given").mkdir()
    return workspace / "given"
