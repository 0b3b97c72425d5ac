"""The four functions that SageMaker's PyTorch inference image calls to serve the exported forecaster.

A request holds hours in Kaggle's columns (datetime, season, holiday, workingday, weather, temp, atemp, humidity,
windspeed), as CSV with a header or as JSON (a list of objects, or one object). The answer has one row per hour:
`datetime,count`, or a list of objects. An hour's answer comes from its own row and the record in the archive, so it does
not depend on the other hours of the request. Hours that the training data doesn't cover are answered with warnings; an
hour that can't be raises ValueError, and so does input that can't be read. The archive contains the modules that this
one imports.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.bikes.features import Record
from stages.bikes.hours import request
from stages.bikes.hours.columns import FORMAT, CellError
from stages.bikes.hours.plausible import Plausible, Warned
from stages.bikes.model import Forecaster, load

CONTENT_TYPES = request.CONTENT_TYPES
"""Content types that `input_fn` reads."""


@dataclass(frozen=True)
class Model:
    """The forecaster, the hours whose weather is known, and what is usual in them."""

    forecaster: Forecaster
    record: Record
    plausible: Plausible


@dataclass(frozen=True)
class Forecast:
    """The hours of a request, the riders in each, float64, and the warnings."""

    hours: pd.Series
    riders: np.ndarray
    warned: list[Warned]


def model_fn(model_dir: str) -> Model:
    """Load the model from ``model_dir``, with its predictors in memory."""
    folder = Path(model_dir)
    forecaster = load(folder / "forecaster")
    forecaster.hold(forecaster.final)
    known = pd.read_parquet(folder / "known.parquet")
    about = json.loads((folder / "features.json").read_text(encoding="utf-8"))
    return Model(forecaster, Record(about["features"], known), Plausible(known, about["ranges"]))


def input_fn(body: bytes | str, content_type: str) -> pd.DataFrame:
    """Return a request's hours in Kaggle's columns. Reads text/csv and application/json."""
    return request.read(body, content_type)


# Unlike the other projects this one has no batch_fn: the hours of a request are already predicted together.
def predict_fn(rows: pd.DataFrame, model: Model) -> Forecast:
    """Return the hours with the predicted riders in each, and the warnings."""
    try:
        warned = model.plausible.check(rows)
    except CellError as fault:
        raise ValueError(f"row {fault.row + 1}, {fault}") from None
    asked = rows.drop_duplicates("datetime", ignore_index=True)
    riders = pd.Series(_riders(asked, model), asked["datetime"])
    return Forecast(rows["datetime"], riders.loc[rows["datetime"]].to_numpy(), warned)


def _riders(asked: pd.DataFrame, model: Model) -> np.ndarray:
    features = model.record.features(asked)
    riders = model.forecaster.predict_apart(features, asked["datetime"])
    recorded = model.record.has(asked)
    if model.forecaster.reads_days and recorded.any():  # hours as recorded have a recorded day
        known, date = model.record.known, asked["datetime"].dt.normalize()
        days = known[known["datetime"].dt.normalize().isin(date[recorded])]
        of_days = pd.Series(model.forecaster.predict(model.record.features(days)), days["datetime"])
        riders[recorded] = of_days.loc[asked.loc[recorded, "datetime"]].to_numpy()
    return riders


def output_fn(prediction: Forecast, accept: str) -> str:
    """Return the answer as text/csv or application/json.

    CSV has the columns datetime and count, and `warnings` if there are any. JSON is a list of objects with datetime,
    count, and `warnings` where there are any; with `verbose=true` it is an object: the list as `predictions`, and each
    warning once as `warnings`, with the number of hours and the first one.
    """
    kind, *parameters = (part.strip().lower() for part in accept.split(";"))
    when = prediction.hours.dt.strftime(FORMAT).tolist()
    of_rows: list[list[str]] = [[] for _ in when]
    for one in prediction.warned:
        for row in np.flatnonzero(one.rows):
            of_rows[row].append(one.words)
    if kind == "text/csv":
        table = pd.DataFrame({"datetime": when, "count": prediction.riders})
        if prediction.warned:
            table["warnings"] = ["; ".join(words) for words in of_rows]
        return str(table.to_csv(index=False, lineterminator="\n"))
    if kind not in ("application/json", "*/*"):
        raise ValueError(f"cannot answer as {accept!r}: expected text/csv or application/json")
    rows: list[dict[str, Any]] = [
        {"datetime": time, "count": count} | ({"warnings": words} if words else {})
        for time, count, words in zip(when, prediction.riders.tolist(), of_rows, strict=True)
    ]
    if "verbose=true" not in parameters:
        return json.dumps(rows)
    warnings = [_of_all(one, when) for one in prediction.warned]
    return json.dumps({"predictions": rows, "warnings": warnings})


def _of_all(one: Warned, when: list[str]) -> str:
    """Return a warning for the whole answer: `... (24 hours, the first 2050-05-15 00:00:00)`."""
    rows = np.flatnonzero(one.rows)
    return (
        f"{one.words} ({len(rows)} {'hour' if len(rows) == 1 else 'hours'}, the first in the request {when[rows[0]]})"
    )
