"""Temporary folders: gone when their program ends, and after a kill when the next one starts."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import ROOT

from stages.common import temporary

OWNER = (
    "from stages.common import temporary\nwith temporary.folder('export') as folder: print(folder, flush=True); input()"
)


def owner() -> tuple["subprocess.Popen[str]", Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_folders_of_killed_programs_are_removed_and_those_in_use_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (killed, left), (lives, used) = owner(), owner()
    killed.kill()
    killed.communicate()
    assert left.is_dir()
    (tmp_path / "stages-export-link").symlink_to(ROOT)
    with temporary.folder("export") as folder:
        assert set(tmp_path.iterdir()) == {folder, used, tmp_path / "stages-export-link"}
        assert list(folder.iterdir()) == []
    lives.communicate("\n")
    assert [path.name for path in tmp_path.iterdir()] == ["stages-export-link"]
