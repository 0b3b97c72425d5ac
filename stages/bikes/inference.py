"""What runs beside the exported forecaster in SageMaker's PyTorch inference image: its four functions.

A request brings hours in Kaggle's columns (datetime, season, holiday, workingday, weather, temp, atemp, humidity,
windspeed), as CSV with a header or as JSON (a list of objects); the answer has a row for each: `datetime,count`, or a
list of objects. The weather of the hours and days around comes from the table in the archive, so that an answer doesn't
depend on what else is asked; an hour that the request gives other weather than the table does changes its surroundings,
too. The archive carries the modules that it imports. What can't be read raises ValueError.
"""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from stages.bikes.features import KAGGLE, build
from stages.bikes.model import Forecaster, load

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"

MAX_COLUMNS = 1000
YEARS = 2000, 2099
"""Of an hour: the calendar is made for all days between it and the known ones."""

CONTENT_TYPES = ("text/csv", "application/json")
"""What `input_fn` reads."""


@dataclass(frozen=True)
class Model:
    """The forecaster, the hours whose weather is known, and their features."""

    forecaster: Forecaster
    kind: str
    known: pd.DataFrame
    features: pd.DataFrame


def model_fn(model_dir: str) -> Model:
    """The model in ``model_dir``, its predictors in memory."""
    folder = Path(model_dir)
    forecaster = load(folder / "forecaster")
    forecaster.hold(forecaster.final)
    known = pd.read_parquet(folder / "known.parquet")
    kind = json.loads((folder / "features.json").read_text(encoding="utf-8"))["features"]
    return Model(forecaster, kind, known, build(kind, known, known))


def input_fn(body: bytes | str, content_type: str) -> pd.DataFrame:
    """A request's hours in Kaggle's columns; text/csv or application/json."""
    try:
        return _hours(body, content_type)
    except ValueError:
        raise
    except Exception as error:  # broad on purpose: pandas has another one for each kind of nonsense
        cause = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"the hours can't be read: {cause}") from None


def _hours(body: bytes | str, content_type: str) -> pd.DataFrame:
    text = body.decode("utf-8") if isinstance(body, bytes) else body
    kind = content_type.split(";")[0].strip().lower()
    if kind == "text/csv":
        header = next(filter(None, csv.reader(io.StringIO(text))), [])
        if len(header) > MAX_COLUMNS:  # pandas takes minutes for a million
            raise ValueError(f"found {len(header)} columns, expected {MAX_COLUMNS} at most")
        rows = pd.read_csv(io.StringIO(text))
    elif kind == "application/json":
        rows = pd.DataFrame(json.loads(text))
    else:
        raise ValueError(f"content type {content_type!r} is not known: expected {' or '.join(CONTENT_TYPES)}")
    missing = [column for column in KAGGLE if column not in rows]
    if missing or rows.empty:
        raise ValueError(
            f"found {len(rows)} rows without {', '.join(missing) or 'a fault'}: expected {','.join(KAGGLE)}"
        )
    rows["datetime"] = pd.to_datetime(rows["datetime"], format=TIME_FORMAT)
    numbers = rows[KAGGLE[1:]].apply(pd.to_numeric)
    if not np.isfinite(numbers).all(axis=None):
        raise ValueError("found a value that is not a number")
    if (rows["datetime"] != rows["datetime"].dt.floor("h")).any():
        raise ValueError("found a time within an hour, expected full hours")
    if not rows["datetime"].dt.year.between(*YEARS).all():
        raise ValueError(f"found an hour outside of the years {YEARS[0]} to {YEARS[1]}")
    table = pd.concat([rows[["datetime"]], numbers], axis=1)
    if table.drop_duplicates()["datetime"].duplicated().any():
        raise ValueError("found an hour twice with different values, expected one weather for each hour")
    return table


# No batch_fn as the other projects have: the weather that a request brings changes the hours around it, so that one request's
# hours among another's would change its answer.
def predict_fn(rows: pd.DataFrame, model: Model) -> pd.DataFrame:
    """The hours with the riders to expect in each."""
    known, features = model.known, model.features
    asked = rows.drop_duplicates("datetime", keep="last")
    if len(asked.merge(known, on=KAGGLE)) != len(asked):
        # Other weather than is known, or other hours: the features around them change with it.
        known = pd.concat([known, asked]).drop_duplicates("datetime", keep="last")
        known = known.sort_values("datetime", ignore_index=True).astype(model.known.dtypes.to_dict())
        features = build(model.kind, known, known)
    # Whole days, as in training: the sequence model reads an hour's day.
    dates = known["datetime"].dt.normalize()
    of_days = dates.isin(rows["datetime"].dt.normalize()).to_numpy()
    riders = pd.Series(model.forecaster.predict(features[of_days]), known.loc[of_days, "datetime"])
    count = riders.loc[rows["datetime"]].to_numpy()
    if not np.isfinite(count).all():
        raise ValueError("found weather that is so far from any known one that the model has no answer")
    return pd.DataFrame({"datetime": rows["datetime"], "count": count})


def output_fn(prediction: pd.DataFrame, accept: str) -> str:
    """The answer as text/csv or application/json."""
    kind = accept.split(";")[0].strip().lower()
    table = prediction.assign(datetime=prediction["datetime"].dt.strftime(TIME_FORMAT))
    if kind == "text/csv":
        return str(table.to_csv(index=False, lineterminator="\n"))
    if kind in ("application/json", "*/*"):
        return json.dumps(table.to_dict("records"))
    raise ValueError(f"an answer of type {accept!r} can't be given: expected text/csv or application/json")
