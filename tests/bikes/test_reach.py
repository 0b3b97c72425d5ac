"""Which versions read the archive: AutoGluon's that wrote it, on every supported Python."""

import tarfile
from pathlib import Path

import pytest

from stages.bikes import inference
from stages.common.models import bundle


def test_no_file_of_the_archive_names_the_version_of_python(pipeline: Path) -> None:
    with tarfile.open(pipeline / "models/bikes/export/model.tar.gz") as archive:
        names = archive.getnames()
        assert "forecaster/casual/version.txt" in names
        assert not [name for name in names if name.endswith("metadata.json")]


@pytest.mark.long
def test_another_version_of_autogluon_refuses_the_archive_and_names_both(pipeline: Path, tmp_path: Path) -> None:
    bundle.unpack(pipeline / "models/bikes/export/model.tar.gz", tmp_path)
    inference.model_fn(str(tmp_path))
    for part in (tmp_path / "forecaster").glob("*/"):
        (part / "version.txt").write_text("1.6.2")
    with pytest.raises(AssertionError, match=r"created on version 1.6.2 but is being loaded with version 1"):
        inference.model_fn(str(tmp_path))
