"""Serve the exported forecaster in a separate process, send it all test hours, and compare its answers with evaluate's.

With `deploy.bikes.version` set, serve that release and compare it with its own evaluation. All test hours are sent in
large CSV requests. Some are also sent one by one as JSON, to measure latency.
"""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.bikes.config import Deploy
from stages.bikes.hours.columns import FORMAT, NAMES
from stages.common import clocks, config, files
from stages.common.errors import InputError
from stages.common.models import bundle, registry
from stages.common.program import run
from stages.serving import process

FEATURES = Path("data/bikes/features")
EVALUATION = Path("reports/bikes/evaluation")
ARCHIVE = Path("models/bikes/export/model.tar.gz")
REPORT = Path("reports/bikes/deploy.json")

TOLERANCE = 1e-4
"""Largest allowed relative difference between a served answer and evaluate's."""


def ask_in_batches(endpoint: process.ServedModel, hours: pd.DataFrame, size: int) -> tuple[np.ndarray, list[float]]:
    """Query all ``hours`` as CSV, ``size`` rows per request. Returns the riders (N) and each request's seconds."""
    riders, seconds = [], []
    for start in tqdm(range(0, len(hours), size), desc="bikes text/csv", unit=" requests"):
        body = hours[start : start + size].to_csv(index=False, date_format=FORMAT).encode()
        answer = endpoint.invoke(body, "text/csv", "text/csv")
        riders.append(pd.read_csv(io.BytesIO(answer.body))["count"].to_numpy())
        seconds.append(answer.seconds)
    return np.concatenate(riders), seconds


def ask_one_by_one(endpoint: process.ServedModel, hours: pd.DataFrame) -> tuple[np.ndarray, list[float]]:
    """Query all ``hours`` as JSON, one row per request. Returns the riders (N) and each request's seconds."""
    rows = hours.assign(datetime=hours["datetime"].dt.strftime(FORMAT)).to_dict("records")
    progress = tqdm(rows, desc="bikes application/json", unit=" requests")
    answers = [endpoint.invoke(json.dumps([row]).encode(), "application/json") for row in progress]
    riders = np.array([json.loads(answer.body)[0]["count"] for answer in answers])
    return riders, [answer.seconds for answer in answers]


def compare(served: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest relative difference. Raises InputError if it is too large or the numbers of answers differ."""
    if served.shape != expected.shape:
        raise InputError(f"{ARCHIVE}: {len(served)} answers, expected {len(expected)}")
    difference = bundle.relative_difference(served, expected)
    if not difference.max() <= TOLERANCE:
        row = int(np.nanargmax(difference))
        found = f"found {served[row]:.6g} riders, expected evaluate's {expected[row]:.6g}"
        raise InputError(f"{ARCHIVE}: test hour {row}: {found} within a relative difference of {TOLERANCE:g}")
    return float(difference.max())


def main() -> None:
    settings = config.load("deploy.bikes", Deploy)
    with registry.opened("bikes", settings.version, [ARCHIVE, EVALUATION, FEATURES]) as root:
        archive = files.require(root / ARCHIVE, "export@bikes")
        results = pd.read_csv(files.require(root / EVALUATION, "evaluate@bikes") / "test.csv")
        expected = results["predicted"].to_numpy()
        hours = pd.read_parquet(root / FEATURES / "hours.parquet")
        test = hours.loc[hours["part"] == "test", NAMES].reset_index(drop=True)
        # Spread the requests over the test hours, because neighbouring hours share a day.
        single = np.unique(np.linspace(0, len(test) - 1, settings.single).astype(int))
        with process.serve(archive) as endpoint:
            served, batch_seconds = ask_in_batches(endpoint, test, settings.batch)
            alone, seconds = ask_one_by_one(endpoint, test.iloc[single])
        compare(served, expected)
        compare(alone, expected[single])
        source = files.read_json(root / FEATURES / "about.json")["source"]
        report: dict[str, object] = {"version": settings.version, "data": source, "rows": len(test)}
        if "actual" in results:
            error = np.log1p(served) - np.log1p(results["actual"].to_numpy())
            report["rmsle_test"] = round(float(np.sqrt(np.mean(error**2))), 6)
        files.write_json(REPORT, report)
        one, batch = process.latency(seconds, len(single)), process.latency(batch_seconds, len(test))
        clocks.write("deploy@bikes", (root / ARCHIVE).parent, {"one": one, "batch": batch})
        print(f"Served {len(test)} test hours: all predictions match evaluate's")


if __name__ == "__main__":
    run(main)
