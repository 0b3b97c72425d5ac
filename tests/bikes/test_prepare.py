"""bikes: Kaggle's files in, checked tables out; what is wrong is named in one line and leaves nothing behind."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Change
from small_bikes import to_uci
from small_photographs import contents

from stages.bikes import prepare
from stages.bikes.sources import official, sample
from stages.common.errors import InputError

HEADER = "datetime,season,holiday,workingday,weather,temp,atemp,humidity,windspeed"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    sample.write(folder)
    return folder


@pytest.fixture
def kaggle(simulated: Path, tmp_path: Path) -> Path:
    """The sample's files with the first 30 rows of train and test."""
    folder = tmp_path / "bikes"
    folder.mkdir()
    for path in simulated.iterdir():
        lines = path.read_text().splitlines(keepends=True)
        (folder / path.name).write_text("".join(lines[:31]))
    return folder


def test_the_sample_is_the_same_each_time_and_has_kaggles_form(simulated: Path, tmp_path: Path) -> None:
    sample.write(tmp_path)
    assert contents(tmp_path) == contents(simulated)
    heads = {"train": f"{HEADER},casual,registered,count", "test": HEADER, "sampleSubmission": "datetime,count"}
    for name, head in heads.items():
        assert (simulated / f"{name}.csv").read_text().splitlines()[0] == head


def test_the_sample_is_read_as_it_is_and_its_riders_have_habits(simulated: Path) -> None:
    tables = prepare.read(simulated)
    assert set(tables) == {"train", "test", "answers"}
    assert len(tables["answers"]) == len(tables["test"]) == len((simulated / "test.csv").read_text().splitlines()) - 1
    train = tables["train"]
    assert train[["count", "temp"]].dtypes.tolist() == [np.int64, np.float64]
    assert set(train["datetime"].dt.day) == set(range(1, 20))
    hour = train["datetime"].dt.hour
    commute = train[hour.isin([8, 17])].groupby("workingday")["registered"].mean()
    assert commute[1] > 1.5 * commute[0]
    afternoon = train[hour.between(12, 16)].groupby("workingday")["casual"].mean()
    assert afternoon[0] > 1.5 * afternoon[1]
    assert train[train["weather"] >= 3]["count"].mean() < 0.7 * train[train["weather"] == 1]["count"].mean()
    assert train[train["temp"] > 15]["casual"].mean() > 2 * train[train["temp"] < 5]["casual"].mean()


def put(row: int, column: str, value: str) -> Callable[[Path], None]:
    """Replaces one value in a file's data row (0 is the first)."""

    def edit(path: Path) -> None:
        lines = [line.split(",") for line in path.read_text().splitlines()]
        lines[row + 1][lines[0].index(column)] = value
        path.write_text("\n".join(map(",".join, lines)) + "\n")

    return edit


def rows(change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    """Changes a file's lines (0 is the header)."""

    def edit(path: Path) -> None:
        path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")

    return edit


def header(old: str, new: str) -> Callable[[Path], None]:
    return rows(lambda lines: [lines[0].replace(old, new), *lines[1:]])


BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "empty file": ("train.csv", lambda path: path.write_text(""), "empty file"),
    "no rows": ("train.csv", rows(lambda lines: lines[:1]), "no rows"),
    "missing file": ("test.csv", Path.unlink, "no such file"),
    "missing column": ("train.csv", header(",temp,", ","), "no column temp"),
    "renamed column": ("train.csv", header("humidity", "hum"), "no column humidity, an unknown column 'hum'"),
    "text in a number column": ("train.csv", put(3, "temp", "warm"), "line 5, column temp: found warm, expected a number"),
    "NaN": ("test.csv", put(0, "humidity", "NaN"), "line 2, column humidity: found NaN"),
    "nothing": ("test.csv", put(0, "humidity", ""), "line 2, column humidity: found nothing"),
    "negative count": ("train.csv", put(1, "casual", "-1"), "line 3, column casual: found -1, expected a whole number from 0 to 1000000"),
    "fractional count": ("train.csv", put(1, "registered", "2.5"), "line 3, column registered: found 2.5, expected a whole number"),
    "sum": ("train.csv", put(2, "count", "100000"), "line 4, column count: found 100000, expected casual \\+ registered"),
    "duplicated hour": ("train.csv", rows(lambda lines: [*lines[:4], *lines[3:]]), "line 5, column datetime: .* expected each hour once"),
    "unsorted hours": ("test.csv", rows(lambda lines: [lines[0], lines[2], lines[1], *lines[3:]]), "line 3, .* ascending order"),
    "impossible date": ("train.csv", put(0, "datetime", "2011-02-30 00:00:00"), "line 2, column datetime: found 2011-02-30"),
    "not a full hour": ("train.csv", put(0, "datetime", "2011-07-01 00:30:00"), "line 2, column datetime: .* full hour"),
    "unknown weather": ("train.csv", put(0, "weather", "5"), "line 2, column weather: found 5, expected a whole number from 1 to 4"),
    "a train file as test": ("test.csv", lambda path: path.write_text((path.parent / "train.csv").read_text()), "a train file"),
    "an hour of train in test": ("test.csv", put(0, "datetime", "2011-07-01 00:00:00"), "line 2, column datetime: .* not in train.csv"),
    "answers to other hours": ("test_answers.csv", rows(lambda lines: lines[:-1]), "expected the 30 hours of test.csv"),
    "another submission": ("sampleSubmission.csv", put(0, "datetime", "2010-01-01 00:00:00"), "line 2, column datetime"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_in_one_line(kaggle: Path, name: str) -> None:
    file, spoil, expected = BAD[name]
    spoil(kaggle / file)
    with pytest.raises(InputError, match=expected) as error:
        prepare.read(kaggle)
    assert file in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["temp", "atemp"], "column temp: found values from 0 to 1 in all 400 rows, expected °C: .* its temp by 41"),
        (["windspeed"], "column windspeed: found values from 0 to 1 in all 400 rows, expected km/h: .* by 67"),
    ],
)
def test_a_table_with_ucis_fractions_is_refused_and_a_cold_day_is_not(
    simulated: Path, tmp_path: Path, names: list[str], message: str
) -> None:
    table = pd.read_csv(simulated / "train.csv").head(400)
    for name in names:
        table[name] = table[name].abs() / prepare.UCI[name]
    path = tmp_path / "train.csv"
    table.to_csv(path, index=False)
    with pytest.raises(InputError, match=message):
        prepare.read_hours(path, list(map(str, table)))
    table.head(24).to_csv(path, index=False)
    assert len(prepare.read_hours(path, list(map(str, table)))) == 24


def test_a_refused_file_ends_the_stage_and_leaves_what_was_there(change: Change, kaggle: Path) -> None:
    change({"data.source": str(kaggle.parent)})
    prepare.main()
    before = contents(Path("data/bikes"))
    put(0, "temp", "warm")(kaggle / "train.csv")
    with pytest.raises(InputError, match="warm"):
        prepare.main()
    assert contents(Path("data/bikes")) == before


def test_kaggles_files_are_rebuilt_from_ucis_byte_by_byte(real_data: Path, tmp_path: Path) -> None:
    """From Kaggle's files to UCI's units and back; the test's counts are not in them, and stay 0."""
    kaggle = real_data / "bikes"
    tables = [pd.read_csv(kaggle / f"{part}.csv", parse_dates=["datetime"]) for part in ("train", "test")]
    hours = pd.concat(tables).fillna(0).astype({"casual": int, "registered": int, "count": int})
    official.write(official.to_kaggle(to_uci(hours.sort_values("datetime"))), tmp_path)
    for name in ("train.csv", "test.csv", "sampleSubmission.csv"):
        assert (tmp_path / name).read_bytes() == (kaggle / name).read_bytes()


def test_kaggles_credentials_are_found_where_its_tools_look(tmp_path: Path) -> None:
    assert official.kaggle_credentials({}, tmp_path) is None
    assert official.kaggle_credentials({"KAGGLE_USERNAME": "me", "KAGGLE_KEY": "k"}, tmp_path) == ("me", "k")
    file = tmp_path / ".kaggle" / "kaggle.json"
    file.parent.mkdir()
    file.write_text('{"username": "you", "key": "secret"}')
    assert official.kaggle_credentials({}, tmp_path) == ("you", "secret")
    file.write_text("secret")
    with pytest.raises(InputError, match=r"kaggle\.json: found .* expected JSON") as error:
        official.kaggle_credentials({}, tmp_path)
    assert "secret" not in str(error.value)
