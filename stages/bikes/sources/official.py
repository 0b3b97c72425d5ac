"""The real data: UCI's open Bike Sharing Dataset, from which Kaggle's files and the answers to its test are rebuilt.

If Kaggle's credentials are set (KAGGLE_USERNAME and KAGGLE_KEY, or ~/.kaggle/kaggle.json), the files are downloaded
from Kaggle. The user must have joined the competition there. The answers still come from UCI.
"""

import hashlib
import json
import os
import zipfile
from pathlib import Path

import pandas as pd

from stages.bikes.hours.columns import COUNTS, FORMAT, NAMES
from stages.common import files
from stages.common.errors import InputError

# https://archive.ics.uci.edu/dataset/275/bike+sharing+dataset (Fanaee-T and Gama, 2013; CC BY 4.0)
MIRRORS = [
    "https://archive.ics.uci.edu/static/public/275/bike+sharing+dataset.zip",
    "https://archive.ics.uci.edu/ml/machine-learning-databases/00275/Bike-Sharing-Dataset.zip",
]
SIZE = 279_992  # bytes
CHECKSUM = "sha256:b70182d0d0508e9abbb79306ce5c0cec34869000f8220175ac83d11dbe845401"

KAGGLE = "https://www.kaggle.com/api/v1/competitions/data/download/bike-sharing-demand/"
KAGGLE_FILES = {  # sha256
    "train.csv": "0cf70c35eeb6405a40cc9e124854e2da901fa88fe7374a75d141e7401bf4c857",
    "test.csv": "3f1d0ebb197ba9b9a79280b30912093ce18959fac6e1931691092cda449eb63e",
    "sampleSubmission.csv": "58c27951183b10437d6752cf5bac708ae9f80490d991c24ff76de296f71cb2f2",
}

LAST_TRAINING_DAY = 19
"""Last training day of each month. The days after it are test days."""


def fetch(folder: Path) -> None:
    """Fill ``folder`` with train.csv, test.csv, sampleSubmission.csv and test_answers.csv."""
    from stages.common.sources.downloads import download  # imports an HTTP client, which only this source needs

    downloads = files.home() / "data" / "downloads" / "bikes"
    archive = download(MIRRORS, downloads / "Bike-Sharing-Dataset.zip", SIZE, CHECKSUM)
    with zipfile.ZipFile(archive) as unzipped, unzipped.open("hour.csv") as file:
        hours = to_kaggle(pd.read_csv(file))
    write(hours, folder)
    if credentials := kaggle_credentials(os.environ, Path.home()):
        for name, sha256 in KAGGLE_FILES.items():
            kept = download([KAGGLE + name], downloads / name, auth=credentials)
            (folder / name).write_bytes(verified(kept, name, sha256))


def verified(kept: Path, name: str, sha256: str) -> bytes:
    """Return the content of the file ``name`` from Kaggle, which sometimes zips it. Raises InputError for another checksum."""
    content = kept.read_bytes()
    if zipfile.is_zipfile(kept):
        with zipfile.ZipFile(kept) as archive:
            content = archive.read(name) if name in archive.namelist() else b""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        kept.unlink()
        remedy = "join the competition on Kaggle, or unset the credentials to get the same files from UCI"
        raise InputError(f"{KAGGLE}{name}: found sha256 {found}, expected {sha256}: {remedy}")
    return content


def to_kaggle(uci: pd.DataFrame) -> pd.DataFrame:
    """Return UCI's hour.csv in Kaggle's columns and units, sorted by time, with casual, registered and count.

    UCI divided temperature by 41, apparent temperature by 50, humidity by 100 and windspeed by 67.
    """
    when = pd.to_datetime(uci["dteday"]) + pd.to_timedelta(uci["hr"], unit="h")
    weather = {
        "temp": (uci["temp"] * 41).round(2),
        "atemp": (uci["atemp"] * 50).round(3),
        "humidity": (uci["hum"] * 100).round().astype(int),
        "windspeed": (uci["windspeed"] * 67).round(4),
    }
    table = uci.rename(columns={"weathersit": "weather", "cnt": "count"}).assign(datetime=when, **weather)
    return table[[*NAMES, *COUNTS]].sort_values("datetime", ignore_index=True)


def write(hours: pd.DataFrame, folder: Path) -> None:
    """Split ``hours`` by the day of the month and write Kaggle's files and the answers to ``folder``."""
    weather = ["temp", "atemp", "windspeed"]
    hours = hours.assign(**hours[weather].map("{:g}".format))  # Kaggle writes 0 and 9.84, not 0.0
    test = hours["datetime"].dt.day > LAST_TRAINING_DAY
    answers = hours.loc[test, ["datetime", "count"]]
    tables = {
        "train.csv": hours[~test],
        "test.csv": hours[test].drop(columns=list(COUNTS)),
        "sampleSubmission.csv": answers.assign(count=0),
        "test_answers.csv": answers,
    }
    for name, table in tables.items():
        table.to_csv(folder / name, index=False, date_format=FORMAT, lineterminator="\n")


def kaggle_credentials(environment: "os._Environ[str] | dict[str, str]", home: Path) -> tuple[str, str] | None:
    """Return user name and key from where Kaggle's own tools read them, or None. Raises InputError for a damaged file."""
    if environment.get("KAGGLE_USERNAME") and environment.get("KAGGLE_KEY"):
        return environment["KAGGLE_USERNAME"], environment["KAGGLE_KEY"]
    path = home / ".kaggle" / "kaggle.json"
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return str(content["username"]), str(content["key"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: found {type(error).__name__}, expected JSON with username and key") from None
