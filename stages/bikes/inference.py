"""The four functions that SageMaker's PyTorch inference image calls to serve the exported forecaster.

A request holds hours in Kaggle's columns (datetime, season, holiday, workingday, weather, temp, atemp, humidity,
windspeed), as CSV with a header or as JSON (a list of objects). The answer has one row per hour: `datetime,count`, or a
list of objects. The weather of the nearby hours and days comes from the table in the archive, so an answer does not
depend on the other rows. If the request's weather differs from the table's, the request's weather is used, for the
nearby hours too. The archive contains the modules that this one imports. Unreadable input raises ValueError.
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
"""First and last year of a request's hours. The calendar is built for all days between an hour and the known ones."""

CONTENT_TYPES = ("text/csv", "application/json")
"""Content types that `input_fn` reads."""


@dataclass(frozen=True)
class Model:
    """The forecaster, the kind of its features, the hours whose weather is known, and their features."""

    forecaster: Forecaster
    kind: str
    known: pd.DataFrame
    features: pd.DataFrame


def model_fn(model_dir: str) -> Model:
    """Load the model from ``model_dir``, with its predictors in memory."""
    folder = Path(model_dir)
    forecaster = load(folder / "forecaster")
    forecaster.hold(forecaster.final)
    known = pd.read_parquet(folder / "known.parquet")
    kind = json.loads((folder / "features.json").read_text(encoding="utf-8"))["features"]
    return Model(forecaster, kind, known, build(kind, known, known))


def input_fn(body: bytes | str, content_type: str) -> pd.DataFrame:
    """Return a request's hours in Kaggle's columns. Reads text/csv and application/json."""
    try:
        return _hours(body, content_type)
    except ValueError:
        raise
    except Exception as error:  # pandas raises many types of errors for bad input
        cause = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"cannot read the hours: {cause}") from None


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
        raise ValueError(f"found an hour outside the years {YEARS[0]} to {YEARS[1]}")
    table = pd.concat([rows[["datetime"]], numbers], axis=1)
    if table.drop_duplicates()["datetime"].duplicated().any():
        raise ValueError("found an hour twice with different values, expected the same weather")
    return table


# Unlike the other projects this one has no batch_fn: a request's weather changes the features of nearby hours, so merging requests
# would change their answers.
def predict_fn(rows: pd.DataFrame, model: Model) -> pd.DataFrame:
    """Return the hours with the predicted riders in each, in columns datetime and count."""
    known, features = model.known, model.features
    asked = rows.drop_duplicates("datetime", keep="last")
    if len(asked.merge(known, on=KAGGLE)) != len(asked):
        # New hours or different weather change the features of the hours around them.
        known = pd.concat([known, asked]).drop_duplicates("datetime", keep="last")
        known = known.sort_values("datetime", ignore_index=True).astype(model.known.dtypes.to_dict())
        features = build(model.kind, known, known)
    # Predict whole days, as in training: the sequence model reads an hour's whole day.
    dates = known["datetime"].dt.normalize()
    of_days = dates.isin(rows["datetime"].dt.normalize()).to_numpy()
    riders = pd.Series(model.forecaster.predict(features[of_days]), known.loc[of_days, "datetime"])
    count = riders.loc[rows["datetime"]].to_numpy()
    if not np.isfinite(count).all():
        raise ValueError("found weather too far from all known weather: the model cannot predict it")
    return pd.DataFrame({"datetime": rows["datetime"], "count": count})


def output_fn(prediction: pd.DataFrame, accept: str) -> str:
    """Return the answer as text/csv or application/json."""
    kind = accept.split(";")[0].strip().lower()
    table = prediction.assign(datetime=prediction["datetime"].dt.strftime(TIME_FORMAT))
    if kind == "text/csv":
        return str(table.to_csv(index=False, lineterminator="\n"))
    if kind in ("application/json", "*/*"):
        return json.dumps(table.to_dict("records"))
    raise ValueError(f"cannot answer as {accept!r}: expected text/csv or application/json")
