"""The four functions that SageMaker's PyTorch inference image calls to serve the exported forecaster.

A request holds hours in Kaggle's columns (datetime, season, holiday, workingday, weather, temp, atemp, humidity,
windspeed), as CSV with a header or as JSON (a list of objects, or one object). The answer has one row per hour:
`datetime,count`, Kaggle's form of a submission, or a list of objects, which also have `low` and `high`: 80 % of hours like
the validation hours have riders between them. An hour's answer comes from its own row and the record in the archive, so it does
not depend on the other hours of the request. Hours that the training data doesn't cover are answered with warnings; an
hour that can't be raises ValueError, and so does input that can't be read. The archive contains the modules that this
one imports.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from stages.bikes.features import Record
from stages.bikes.hours import request
from stages.bikes.hours.columns import FORMAT, CellError
from stages.bikes.hours.plausible import Plausible
from stages.bikes.model import Forecaster, load

CONTENT_TYPES = request.CONTENT_TYPES
"""Content types that `input_fn` reads."""


@dataclass(frozen=True)
class Model:
    """The forecaster, the hours whose weather is known, and what is usual in them."""

    forecaster: Forecaster
    record: Record
    plausible: Plausible


def model_fn(model_dir: str) -> Model:
    """Load the model from ``model_dir``, with its predictors in memory."""
    folder = Path(model_dir)
    forecaster = load(folder / "forecaster")
    forecaster.hold(forecaster.final)
    known = pd.read_parquet(folder / "known.parquet")
    about = json.loads((folder / "features.json").read_text(encoding="utf-8"))
    kind, ranges = about["features"], about["ranges"]
    return Model(forecaster, Record(kind, known, ranges), Plausible(kind, known, ranges))


def input_fn(body: bytes | str, content_type: str) -> pd.DataFrame:
    """Return a request's hours in Kaggle's columns. Reads text/csv and application/json."""
    return request.read(body, content_type)


# Unlike the other projects this one has no batch_fn: the hours of a request are already predicted together.
def predict_fn(rows: pd.DataFrame, model: Model) -> pd.DataFrame:
    """Return the hours with the predicted riders in each, in columns datetime, count, low, high and warnings."""
    try:
        warnings = model.plausible.check(rows)
    except CellError as error:
        raise ValueError(f"row {error.row + 1}, {error}") from None
    asked = rows.drop_duplicates("datetime", ignore_index=True)
    riders = pd.Series(_riders(asked, model), asked["datetime"])
    count = riders.loc[rows["datetime"]].to_numpy()
    low, high = model.forecaster.interval(count)
    table = {"datetime": rows["datetime"], "count": count, "low": low, "high": high, "warnings": warnings}
    return pd.DataFrame(table)


def _riders(asked: pd.DataFrame, model: Model) -> np.ndarray:
    """Return the riders in each hour. No hour sees another one of the request."""
    riders = model.forecaster.predict_apart(model.record.features(asked), asked["datetime"])
    if model.forecaster.reads_days and (recorded := model.record.has(asked)).any():
        known, date = model.record.known, asked["datetime"].dt.normalize()
        days = known[known["datetime"].dt.normalize().isin(date[recorded])]
        of_days = pd.Series(model.forecaster.predict(model.record.features(days)), days["datetime"])
        riders[recorded] = of_days.loc[asked.loc[recorded, "datetime"]].to_numpy()
    return riders


def output_fn(prediction: pd.DataFrame, accept: str) -> str:
    """Return the answer as text/csv or application/json.

    CSV has the columns datetime and count, and `warnings` if there are any. JSON is a list of objects with datetime,
    count, low, high, and `warnings` where there are any; with `verbose=true` it is an object: the list as `predictions`, and each
    warning once as `warnings`, with the number of hours and the first one.
    """
    kind, *parameters = (part.strip().lower() for part in accept.split(";"))
    table = prediction.assign(datetime=prediction["datetime"].dt.strftime(FORMAT))
    warned = table[table["warnings"].map(len) > 0]
    if kind == "text/csv":
        table["warnings"] = table["warnings"].map("; ".join)
        names = ["datetime", "count", *(["warnings"] if len(warned) else [])]
        return str(table[names].to_csv(index=False, lineterminator="\n"))
    if kind not in ("application/json", "*/*"):
        raise ValueError(f"cannot answer as {accept!r}: expected text/csv or application/json")
    rows = [{name: value for name, value in row.items() if value != []} for row in table.to_dict("records")]
    if "verbose=true" not in parameters:
        return json.dumps(rows)
    hours = warned.explode("warnings").groupby("warnings", sort=False)["datetime"]
    warnings = [
        f"{one} ({len(of)} {'hour' if len(of) == 1 else 'hours'}, the first in the request {of.iloc[0]})"
        for one, of in hours
    ]
    return json.dumps({"predictions": rows, "warnings": warnings})
