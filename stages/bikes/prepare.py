"""Check Kaggle's CSV files and write `train.parquet`, `test.parquet` and, if the answers are known, `answers.parquet`.

Takes 1 s.

train.csv             datetime,season,holiday,workingday,weather,temp,atemp,humidity,windspeed,casual,registered,count
test.csv              the same without the last three
test_answers.csv      datetime,count of the test hours; not from Kaggle, used only by evaluate
sampleSubmission.csv  optional; must list the test hours
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd
from pandas.errors import EmptyDataError, ParserError

from stages.bikes.config import Data
from stages.bikes.hours import columns
from stages.bikes.sources import official, sample
from stages.common import config, files
from stages.common.errors import InputError
from stages.common.program import run
from stages.common.sources.source import open_source

RAW = Path("data/bikes/raw")

COUNTS = list(columns.COUNTS)
COLUMNS = columns.COLUMNS | columns.COUNTS
WHOLE = [*(name for name, column in COLUMNS.items() if column.whole), "humidity"]
"""Columns that are stored as int64 if their numbers are whole."""

UCI = {"temp": 41, "atemp": 50, "windspeed": 67}
"""Columns that UCI's hour.csv has as fractions of these. Humidity is refused in any row, these only if a whole table has them."""

WEEK = 24 * 7
"""Rows from which on no table has all temperatures within one degree, or no wind."""

FIRST_LINE = 2
"""Line of the first row: the header is line 1."""


def read_hours(path: Path, names: list[str], whole: bool = True) -> pd.DataFrame:
    """Return the file's rows as datetime64, int64 or float64 columns. Counts are whole numbers if ``whole``.

    Rows must be sorted by time. Raises InputError with the file, line and column of the first error.
    """
    table = _read_text(path)
    _check_header(path, list(table.columns), names)
    if table.empty:
        raise InputError(f"{path}: found a header and no rows, expected at least one hour")
    try:
        times = columns.times(table["datetime"].tolist())
        result = pd.DataFrame({"datetime": times})
        for name in names[1:]:
            column = COLUMNS[name] if whole else replace(COLUMNS[name], whole=False)
            values = columns.numbers(name, table[name].tolist(), column)
            # Kaggle's humidity is whole, too.
            result[name] = values.astype("int64") if (values == values.round()).all() and name in WHOLE else values
        if "atemp" in names:
            columns.consistent(result)
    except columns.CellError as fault:
        raise InputError(f"{path}: line {fault.row + FIRST_LINE}, {fault}") from None
    _check_units(path, result)
    _raise_first(path, table["datetime"], times.duplicated(), "each hour once")
    _raise_first(path, table["datetime"], times < times.shift(1), "hours in ascending order")
    return result


def check_counts(path: Path, table: pd.DataFrame) -> None:
    """Raise InputError for the first row whose count is not the sum of its casual and registered riders."""
    wrong = table["count"] != table["casual"] + table["registered"]
    if wrong.any():
        row = int(wrong.argmax())
        total = table["casual"][row] + table["registered"][row]
        raise _fault(path, row, "count", table["count"][row], f"casual + registered = {total}")


def check_same_hours(path: Path, table: pd.DataFrame, test: pd.DataFrame) -> None:
    """Raise InputError unless ``table`` has exactly the hours of test.csv."""
    for row, (found, expected) in enumerate(zip(table["datetime"], test["datetime"], strict=False)):
        if found != expected:
            raise _fault(path, row, "datetime", found, f"{expected} as in test.csv")
    if len(table) != len(test):
        raise InputError(f"{path}: found {len(table)} rows, expected the {len(test)} hours of test.csv")


def _read_text(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected Kaggle's train.csv and test.csv in that folder")
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skip_blank_lines=False)
    except EmptyDataError:
        raise InputError(f"{path}: found an empty file, expected a header line and one row per hour") from None
    except (ParserError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: found invalid CSV ({error}), expected CSV in UTF-8") from None


def _check_header(path: Path, found: list[str], expected: list[str]) -> None:
    missing = [name for name in expected if name not in found]
    unknown = [name for name in found if name not in expected]
    if expected == columns.NAMES and not missing and set(unknown) >= set(COUNTS):
        wrong = "casual, registered and count (a train file)"
        raise InputError(f"{path}: header: found {wrong}, expected a test file without them")
    if found != expected:
        what = [f"no column {name}" for name in missing] + [f"an unknown column {name!r}" for name in unknown]
        wrong = ", ".join(what) or "a different order of columns"
        raise InputError(f"{path}: header: found {wrong}, expected {','.join(expected)}")


def _check_units(path: Path, table: pd.DataFrame) -> None:
    """Raise InputError for a column that has UCI's fractions in each row. One such row may be a cold and calm hour."""
    for name, factor in UCI.items():
        if name in table and len(table) >= WEEK and table[name].between(0, 1).all():
            found = f"values from 0 to 1 in all {len(table)} rows"
            raise InputError(
                f"{path}: column {name}: found {found}, expected {COLUMNS[name].unit}: UCI's hour.csv has fractions, "
                f"multiply its {name} by {factor}"
            )


def _raise_first(path: Path, text: pd.Series, wrong: pd.Series, expected: str) -> None:
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise _fault(path, row, str(text.name), text.iloc[row] or "nothing", expected)


def _fault(path: Path, row: int, column: str, found: object, expected: str) -> InputError:
    return InputError(f"{path}: line {row + FIRST_LINE}, column {column}: found {found}, expected {expected}")


def read(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the checked tables ``train``, ``test`` and, if the folder has them, ``answers``."""
    tables = {
        "train": read_hours(folder / "train.csv", columns.NAMES + COUNTS),
        "test": read_hours(folder / "test.csv", columns.NAMES),
    }
    check_counts(folder / "train.csv", tables["train"])
    when = tables["test"]["datetime"]
    both = when.isin(tables["train"]["datetime"])
    if both.any():
        row = int(both.argmax())
        raise _fault(folder / "test.csv", row, "datetime", when[row], "an hour that is not in train.csv")
    for name, part in (("test_answers.csv", "answers"), ("sampleSubmission.csv", "submission")):
        if (folder / name).exists():
            # Kaggle's submissions may have fractional counts.
            tables[part] = read_hours(folder / name, ["datetime", "count"], whole=part == "answers")
            check_same_hours(folder / name, tables[part], tables["test"])
    tables.pop("submission", None)
    return tables


def main() -> None:
    with open_source("bikes", config.load("data.bikes", Data), sample.write, official.fetch) as source:
        tables, name = read(source.folder), source.name
    with files.new_folder(RAW) as folder:
        for part, table in tables.items():
            table.to_parquet(folder / f"{part}.parquet")
        files.write_json(folder / "about.json", {"source": name})
    known = "with" if "answers" in tables else "without"
    hours = f"{len(tables['train'])} training and {len(tables['test'])} test hours"
    print(f"bikes from {name}: {hours}, {known} answers, in {RAW}")


if __name__ == "__main__":
    run(main)
