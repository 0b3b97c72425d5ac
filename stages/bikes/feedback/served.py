"""Requested hours as what drift is measured in: their weather and their kind of day."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from stages.bikes.hours import request
from stages.bikes.hours.columns import COLUMNS, FORMAT, NAMES
from stages.common import files
from stages.common.drift import Inputs
from stages.engine.aws.captures import Record, bodies

HOURS = Path("data/bikes/features/hours.parquet")

LEAST = 7
"""Fewest days of which hours were requested."""

UNIT = "days"


def training() -> Inputs:
    """Return the hours that the model is trained with, without those of the validation days."""
    hours = pd.read_parquet(files.require(HOURS, "featurize@bikes"))
    return measured(hours[hours["part"] == "train"].reset_index(drop=True), usual())


def inputs(records: Sequence[Record]) -> tuple[Inputs, list[str]]:
    """Return the requested hours, each once, and a line for each request that can't be read."""
    tables, problems = bodies(records, request.read)
    hours = pd.concat(tables).drop_duplicates(NAMES, ignore_index=True) if tables else pd.DataFrame(columns=NAMES)
    return measured(hours, usual()), problems


def measured(hours: pd.DataFrame, means: pd.DataFrame) -> Inputs:
    """Return what is measured of ``hours``.

    Numbers are differences from the ``means``, what training has at that hour of a day in that month: requests for a summer
    are no drift, a summer that is too hot is. Hours of one day have much the same weather, so only days are independent.
    """
    when = hours["datetime"].dt
    moment = pd.MultiIndex.from_arrays([when.month, when.hour])
    features = {}
    for name, column in COLUMNS.items():
        if not column.codes:
            expected = means[name].reindex(moment).fillna(means[name].mean()).to_numpy()
            features[f"{column.meaning}, from the usual [{column.unit}]"] = hours[name].to_numpy() - expected
        elif name != "season":  # the date has it
            features[column.meaning] = hours[name].map(column.codes).to_numpy("U")
    rows = hours[NAMES].round(2).assign(datetime=when.strftime(FORMAT)).to_dict("records") if len(hours) else []
    return Inputs(features, None, when.normalize().nunique(), rows)


def usual() -> pd.DataFrame:
    """Return the means of training's numbers by month and hour of the day."""
    hours = pd.read_parquet(files.require(HOURS, "featurize@bikes"))
    hours = hours[hours["part"] == "train"]
    numbers = [name for name, column in COLUMNS.items() if not column.codes]
    return hours.groupby([hours["datetime"].dt.month, hours["datetime"].dt.hour])[numbers].mean()
