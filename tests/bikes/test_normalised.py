"""What bikes stores of its models: no clock readings, no place, equal bytes for equal contents, AutoGluon's version."""

import itertools
import pickle
import pickletools
import re
import tempfile
from pathlib import Path

import pytest

from stages.bikes import export, inference, model
from stages.bikes.learning import normalised
from stages.common.models import bundle


@pytest.fixture
def stored(done: Path, tmp_path: Path) -> list[Path]:
    """Every file of the trained models and of the export."""
    bundle.unpack(done / export.EXPORT / "model.tar.gz", tmp_path)
    return [path for folder in (done / model.TRAINED, tmp_path) for path in folder.rglob("*") if path.is_file()]


def test_no_file_names_the_place_where_it_was_made(stored: list[Path], done: Path, tmp_path: Path) -> None:
    places = (str(done), "export-", f"{tempfile.gettempdir()}/", f"{Path.home()}/", "/home/")
    made = {path: path.read_bytes() for path in stored if path.suffix not in (".py", ".md")}
    assert {path: place for path, content in made.items() for place in places if place.encode() in content} == {}


def test_no_file_holds_a_clock_reading(stored: list[Path]) -> None:
    """Each number that a pickle stores under a name with `time` in it is 0, or one of AutoGluon's limits."""
    pickles = [path for path in stored if path.suffix == ".pkl"]
    assert len(pickles) > 20
    read = {reading for path in pickles for reading in readings(path)}
    assert {name for name, _ in read} >= {"fit_time", "predict_time"}
    assert {(name, value) for name, value in read if value and "limit" not in name} == set()


def readings(path: Path) -> list[tuple[str, float]]:
    """Names with `time` in them that stand before a float, at their first mention in the pickle."""
    operations = [(op.name, arg) for op, arg, _ in pickletools.genops(path.read_bytes()) if op.name != "MEMOIZE"]
    pairs = itertools.pairwise(operations)
    return [
        (str(name), value)
        for (_, name), (kind, value) in pairs
        if kind == "BINFLOAT" and isinstance(value, float) and re.search("(^|_)time(_|$)", str(name))
    ]


def test_catboosts_metadata_have_no_time_and_no_random_identifier(done: Path) -> None:
    path = done / model.TRAINED / "casual/models/CatBoost/model.pkl"
    metadata = pickle.loads(path.read_bytes()).model.get_metadata()
    assert {key: metadata[key] for key in normalised.CATBOOST} == dict.fromkeys(normalised.CATBOOST, "")


def test_equal_contents_give_equal_bytes_however_they_lie_in_memory(tmp_path: Path) -> None:
    shared = "a text"
    again = "".join(["a", " text"])
    assert again is not shared
    contents = [
        {"texts": [shared, shared], "set": {"x", "y", "z"}, "fit_time": 1.5, "path": f"{tmp_path / '0'}/models"},
        {"texts": [shared, again], "set": {"z", "y", "x"}, "fit_time": 2.5, "path": f"{tmp_path / '1'}/models"},
    ]
    written = []
    for number, content in enumerate(contents):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "one.pkl").write_bytes(pickle.dumps(content, protocol=4))
        normalised.normalise(folder)
        written.append((folder / "one.pkl").read_bytes())
    assert written[0] == written[1]
    expected = {"texts": ["a text"] * 2, "set": {"x", "y", "z"}, "fit_time": 0.0, "path": "models/models"}
    assert pickle.loads(written[0]) == expected


def test_a_file_in_another_format_stays_as_it_is(tmp_path: Path) -> None:
    content = {"zip.pkl": b"PK\x03\x04", "two.pkl": pickle.dumps(1) + pickle.dumps(2), "empty.pkl": b""}
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    normalised.normalise(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == content


def test_no_file_names_the_version_of_python_so_that_every_one_reads_them(stored: list[Path], tmp_path: Path) -> None:
    assert tmp_path / "forecaster/casual/version.txt" in stored
    assert not [path for path in stored if path.name == "metadata.json"]


@pytest.mark.long
def test_another_version_of_autogluon_refuses_the_archive_and_names_both(stored: list[Path], tmp_path: Path) -> None:
    inference.model_fn(str(tmp_path))
    for part in (tmp_path / "forecaster").glob("*/"):
        (part / "version.txt").write_text("1.6.2")
    with pytest.raises(AssertionError, match=r"created on version 1.6.2 but is being loaded with version 1"):
        inference.model_fn(str(tmp_path))
