"""Which versions read the archive: the ones that wrote it, and no others."""

import json
from pathlib import Path

import pytest

from stages.bikes import inference
from stages.common.models import bundle


@pytest.mark.long
def test_another_version_of_autogluon_or_of_python_refuses_the_archive_and_names_both(
    pipeline: Path, tmp_path: Path
) -> None:
    bundle.unpack(pipeline / "models/bikes/export/model.tar.gz", tmp_path)
    inference.model_fn(str(tmp_path))
    for part in (tmp_path / "forecaster").glob("*/"):
        metadata = part / "metadata.json"
        metadata.write_text(json.dumps(json.loads(metadata.read_text()) | {"py_version": "3.9"}))
    with pytest.raises(
        AssertionError, match=r"created on Python version 3.9 but is being loaded with Python version 3"
    ):
        inference.model_fn(str(tmp_path))
    for part in (tmp_path / "forecaster").glob("*/"):
        (part / "version.txt").write_text("1.6.2")
    with pytest.raises(AssertionError, match=r"created on version 1.6.2 but is being loaded with version 1"):
        inference.model_fn(str(tmp_path))
