"""Turn checked hours into tables for the models, and hold out whole days for validation.

Takes 1 s for Kaggle's 17,379 hours.

Validation imitates the test: it uses the last training days of each month, and the test uses the days after them. With
shuffled hours, models could use neighbouring hours, which the test hours do not have.

Writes `train.parquet`, `valid.parquet` (features, casual, registered, count) and `test.parquet` (features), one row per
hour, sorted by time. Also writes `hours.parquet` (Kaggle's columns of all hours and their `part`), and
`answers.parquet` if the source has answers.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from stages.bikes.config import Data
from stages.bikes.features import Record
from stages.bikes.hours import holidays, plausible
from stages.bikes.hours.columns import COUNTS
from stages.common import config, files
from stages.common.errors import InputError
from stages.common.program import run

RAW = Path("data/bikes/raw")
FEATURES = Path("data/bikes/features")


def split(hours: pd.DataFrame, valid_days: int) -> pd.Series:
    """Return "valid" for hours of each month's last ``valid_days`` days in ``hours``, and "train" for all others."""
    date = hours["datetime"].dt.normalize()
    dates = date.drop_duplicates()
    from_end = dates.groupby(dates.dt.to_period("M")).rank(ascending=False)
    held_out = dates[from_end <= valid_days]
    return pd.Series(np.where(date.isin(held_out), "valid", "train"), hours.index)


def main() -> None:
    settings = config.load("data.bikes", Data)
    files.require(RAW, "prepare@bikes")
    labelled, test = pd.read_parquet(RAW / "train.parquet"), pd.read_parquet(RAW / "test.parquet")
    part = split(labelled, settings.valid_days)
    if part.nunique() < 2:
        raise InputError(
            f"{RAW / 'train.parquet'}: no month has more than {settings.valid_days} days, expected more than "
            f"data.bikes.valid_days = {settings.valid_days}: add days or reduce valid_days"
        )
    hours = pd.concat([labelled.assign(part=part), test.assign(part="test")]).sort_values("datetime", ignore_index=True)
    dates = hours["datetime"].dt.normalize()
    worked = dates[pd.notna(holidays.names(dates)) & (hours["holiday"] == 0)].drop_duplicates()
    if settings.features == "full" and len(worked):
        found = f"{len(worked)} days are US federal holidays but have holiday 0, first {worked.iloc[0]:%Y-%m-%d}"
        print(f"warning: {found}: the features take them as holidays")
    ranges = plausible.ranges(hours[hours["part"] != "test"])
    features = Record(settings.features, hours, ranges).features(hours)
    with files.new_folder(FEATURES) as folder:
        for name, rows in hours.groupby("part"):
            table = features.loc[rows.index]
            if name != "test":
                table = pd.concat([table, rows[list(COUNTS)].astype("int64")], axis=1)
            table.reset_index(drop=True).to_parquet(folder / f"{name}.parquet")
        hours.to_parquet(folder / "hours.parquet")
        if (RAW / "answers.parquet").exists():
            pd.read_parquet(RAW / "answers.parquet").to_parquet(folder / "answers.parquet")
        about = files.read_json(RAW / "about.json") | {"features": settings.features}
        files.write_json(folder / "about.json", about)
    sizes = hours["part"].value_counts()
    hours_of = f"{sizes['train']} training, {sizes['valid']} validation and {sizes['test']} test hours"
    print(f"{features.shape[1]} features of {hours_of} in {FEATURES}")


if __name__ == "__main__":
    run(main)
