"""Files: nothing half-written is ever visible."""

import csv
from pathlib import Path

import numpy as np
import pytest

from stages.common import files


def test_a_new_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "result.txt"
    with files.new_file(path) as partial:
        partial.write_text("first")
        assert not path.exists()
    with pytest.raises(RuntimeError), files.new_file(path) as partial:
        partial.write_text("second")
        raise RuntimeError
    assert path.read_text() == "first"
    assert [entry.name for entry in path.parent.iterdir()] == ["result.txt"]


def test_a_new_folder_replaces_the_old_one_or_leaves_it(tmp_path: Path) -> None:
    path = tmp_path / "features"
    for content in ("first", "second"):
        with files.new_folder(path) as partial:
            (partial / content).write_text(content)
    assert [entry.name for entry in path.iterdir()] == ["second"]
    with pytest.raises(RuntimeError), files.new_folder(path):
        raise RuntimeError
    assert [entry.name for entry in tmp_path.rglob("*")] == ["features", "second"]


def test_remains_of_a_killed_run_are_removed_and_what_it_had_put_aside_is_kept(tmp_path: Path) -> None:
    for name, content in ((".features.partial", "half"), (".features.old", "good")):
        (tmp_path / name).mkdir()
        (tmp_path / name / content).write_text("x")
    with pytest.raises(RuntimeError), files.new_folder(tmp_path / "features") as partial:
        assert list(partial.iterdir()) == []
        raise RuntimeError
    assert [entry.name for entry in tmp_path.rglob("*")] == ["features", "good"]


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "metrics.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_arrays_have_the_same_bytes_with_any_python_and_numpy_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    numbers = np.arange(6, dtype=np.int32).reshape(2, 3)
    files.write_arrays(path, numbers=numbers, names=np.array(["a", "bc"]))
    assert files.digest(path, "md5") == "f50a45436294d2808e422d7ff723f089"
    with np.load(path) as read:
        assert np.array_equal(read["numbers"], numbers)
        assert read["names"].tolist() == ["a", "bc"]


def test_a_spreadsheet_runs_no_text_of_a_table(tmp_path: Path) -> None:
    texts = ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3", "\t=1", "\n=1", "'quoted", "a=b", "-"]
    table = [("tower", -1e-7), *((text, "-12.5") for text in texts)]
    files.write_rows(tmp_path / "table.csv", ["class", "degrees"], table)
    with (tmp_path / "table.csv").open(newline="") as file:
        first, *rows = csv.DictReader(file)
    assert not [row for row in rows if row["class"][0] in "=+-@\t\r\n" or row["degrees"] != "-12.5"]
    assert first == {"class": "tower", "degrees": "-1e-07"}
    with (tmp_path / "table.csv").open(newline="") as file:
        assert list(files.read_rows(file)) == [first, *({"class": text, "degrees": "-12.5"} for text in texts)]
