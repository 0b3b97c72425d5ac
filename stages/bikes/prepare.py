"""Check Kaggle's CSV files and write `train.parquet`, `test.parquet` and, if the answers are known, `answers.parquet`.

Takes 1 s.

train.csv             datetime,season,holiday,workingday,weather,temp,atemp,humidity,windspeed,casual,registered,count
test.csv              the same without the last three
test_answers.csv      datetime,count of the test hours; not from Kaggle, used only by evaluate
sampleSubmission.csv  optional; must list the test hours
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.errors import EmptyDataError, ParserError

from stages.bikes.config import Data
from stages.bikes.sources import official, sample
from stages.common import config, files
from stages.common.errors import InputError
from stages.common.program import run
from stages.common.sources.source import open_source

RAW = Path("data/bikes/raw")

TEST = ["datetime", "season", "holiday", "workingday", "weather", "temp", "atemp", "humidity", "windspeed"]
COUNTS = ["casual", "registered", "count"]
FORMAT = "%Y-%m-%d %H:%M:%S"
RANGES = {  # smallest, largest; temperatures in degrees Celsius, humidity in %, windspeed in Kaggle's unit
    "season": (1, 4),
    "holiday": (0, 1),
    "workingday": (0, 1),
    "weather": (1, 4),
    "temp": (-60, 60),
    "atemp": (-80, 80),
    "humidity": (0, 100),
    "windspeed": (0, 400),
    **dict.fromkeys(COUNTS, (0, 1_000_000)),  # per hour
}
WHOLE = {"season", "holiday", "workingday", "weather", "humidity", *COUNTS}


def read_hours(path: Path, columns: list[str], whole: frozenset[str] = frozenset(WHOLE)) -> pd.DataFrame:
    """Return the file's rows as datetime64, int64 or float64 columns.

    Rows must be sorted by time. Raises InputError with the file, line and column of the first error.
    """
    table = _read_text(path)
    _check_header(path, list(table.columns), columns)
    if table.empty:
        raise InputError(f"{path}: found a header and no rows, expected at least one hour")
    result = pd.DataFrame({"datetime": _times(path, table["datetime"])})
    for column in columns[1:]:
        result[column] = _numbers(path, table[column], column in whole)
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
    if expected == TEST and not missing and set(unknown) >= set(COUNTS):
        raise InputError(
            f"{path}: header: found casual, registered and count (a train file), expected a test file without them"
        )
    if missing or unknown or found != expected:
        what = [f"no column {name}" for name in missing] + [f"an unknown column {name!r}" for name in unknown]
        raise InputError(
            f"{path}: header: found {', '.join(what) or 'a different order of columns'}, expected {','.join(expected)}"
        )


def _times(path: Path, text: pd.Series) -> pd.Series:
    times = pd.to_datetime(text, format=FORMAT, errors="coerce")
    whole_hour = times == times.dt.floor("h")
    _raise_first(path, text, times.isna() | ~whole_hour, "an existing full hour, such as 2011-01-31 23:00:00")
    _raise_first(path, text, times.duplicated(), "each hour once")
    earlier = times < times.shift(1)
    _raise_first(path, text, earlier, "hours in ascending order")
    return times


def _numbers(path: Path, text: pd.Series, whole: bool) -> pd.Series:
    low, high = RANGES[str(text.name)]
    expected = f"a {'whole ' if whole else ''}number from {low} to {high}"
    values = pd.to_numeric(text, errors="coerce")
    wrong = ~np.isfinite(values) | (values < low) | (values > high)
    if whole:
        wrong |= values != values.round()
    _raise_first(path, text, wrong, expected)
    return values.astype("int64" if whole else "float64")


def _raise_first(path: Path, text: pd.Series, wrong: pd.Series, expected: str) -> None:
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise _fault(path, row, str(text.name), text.iloc[row] or "nothing", expected)


def _fault(path: Path, row: int, column: str, found: object, expected: str) -> InputError:
    line = row + 2  # the header is line 1
    return InputError(f"{path}: line {line}, column {column}: found {found}, expected {expected}")


def read(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the checked tables ``train``, ``test`` and, if the folder has them, ``answers``."""
    tables = {"train": read_hours(folder / "train.csv", TEST + COUNTS), "test": read_hours(folder / "test.csv", TEST)}
    check_counts(folder / "train.csv", tables["train"])
    both = tables["test"]["datetime"].isin(tables["train"]["datetime"])
    if both.any():
        row = int(both.argmax())
        raise _fault(
            folder / "test.csv", row, "datetime", tables["test"]["datetime"][row], "an hour that is not in train.csv"
        )
    # Kaggle's submissions may have fractional counts.
    others: dict[str, Callable[[Path], pd.DataFrame]] = {
        "test_answers.csv": lambda path: read_hours(path, ["datetime", "count"]),
        "sampleSubmission.csv": lambda path: read_hours(path, ["datetime", "count"], frozenset()),
    }
    for name, read_other in others.items():
        if (folder / name).exists():
            table = read_other(folder / name)
            check_same_hours(folder / name, table, tables["test"])
            if name == "test_answers.csv":
                tables["answers"] = table
    return tables


def main() -> None:
    with open_source("bikes", config.load("data.bikes", Data), sample.write, official.fetch) as source:
        tables, name = read(source.folder), source.name
    with files.new_folder(RAW) as folder:
        for part, table in tables.items():
            table.to_parquet(folder / f"{part}.parquet")
        files.write_json(folder / "about.json", {"source": name})
    known = "with" if "answers" in tables else "without"
    print(
        f"bikes from {name}: {len(tables['train'])} training and {len(tables['test'])} test hours, {known} answers, in {RAW}"
    )


if __name__ == "__main__":
    run(main)
