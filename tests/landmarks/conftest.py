"""A small data set of landmarks."""

from pathlib import Path

import pytest
from small_photographs import write_photographs


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source of photographs: three classes that their colours tell."""
    folder = tmp_path_factory.mktemp("photographs")
    write_photographs(folder)
    return folder
