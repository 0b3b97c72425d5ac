"""Measure the forecaster on the validation days and the test hours.

The models for the validation days were not fitted to those days. The final models predict the test hours.

Writes `metrics.json`, `details.json`, Kaggle's `submission.csv`, and in `evaluation/`:

leaderboard.csv           every model's scores on the validation days, and its layer (reports/clocks/ has the seconds)
importance.csv            how much the error grows when a feature's values are shuffled, and how much that varies between
                          shuffles, on a sample of the validation days
validation.csv, test.csv  predicted and actual riders; low and high are the bounds of the test hours' intervals
settings.json             each model's settings
trials.csv                only after a search: each trial's score and its values of the parameters that were varied, as JSON

RMSLE is the root mean squared error of log(1 + riders), Kaggle's score. RMSE is in riders. `rmsle_valid_alone` is the
RMSLE if each validation hour is asked alone and the weather around it is unknown, as for an hour of the future.
`coverage_test` is the fraction of the test hours whose riders are within their interval, which should hold 80 %.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.bikes.features import Record
from stages.bikes.hours import plausible
from stages.bikes.hours.columns import COUNTS, FORMAT
from stages.bikes.model import TRAINED, Forecaster, lean, load
from stages.common import files
from stages.common.program import run

FEATURES = Path("data/bikes/features")
METRICS = Path("reports/bikes/metrics.json")
DETAILS = Path("reports/bikes/details.json")
EVALUATION = Path("reports/bikes/evaluation")
SUBMISSION = Path("reports/bikes/submission.csv")
IMPORTANCE_DAYS, SHUFFLES = 12, 2
"""Validation days and shuffles per feature for the importance. Each shuffle predicts all hours of these days once per
feature."""


TRIAL = re.compile(r"_T(\d+)")
"""In a model's name: the number of its trial in a search."""


def rmsle(actual: np.ndarray, predicted: np.ndarray) -> float:
    return rmse(np.log1p(actual), np.log1p(predicted))


def rmse(actual: np.ndarray, predicted: np.ndarray) -> float:
    return round(float(np.sqrt(np.mean((actual - predicted) ** 2))), 6)


def leaderboard(
    forecaster: Forecaster, tables: Iterable[pd.DataFrame], valid: pd.DataFrame, actual: np.ndarray
) -> pd.DataFrame:
    """Return each model's scores on the validation rows, best first. Models that all predictors have get a total score."""
    finals = {name for predictor in forecaster.predictors.values() for name in predictor.model_refit_map().values()}
    predicted = {
        part: predictor.predict_multi(valid, models=[name for name in predictor.model_names() if name not in finals])
        for part, predictor in forecaster.predictors.items()
    }
    levels = {name: level for table in tables for name, level in zip(table["model"], table["stack_level"], strict=True)}
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys(name for models in predicted.values() for name in models):
        row: dict[str, Any] = {"model": name, "stack_level": levels[name]}
        having = [part for part in predicted if name in predicted[part]]
        riders = {part: forecaster.riders(part, predicted[part][name].to_numpy()) for part in having}
        if len(having) == len(predicted):
            total = np.sum(list(riders.values()), axis=0)
            row |= {"rmsle_valid": rmsle(actual, total), "rmse_valid": rmse(actual, total)}
        if len(predicted) > 1:
            row |= {f"rmsle_{part}": rmsle(valid[part].to_numpy(), riders[part]) for part in having}
        rows.append(row)
    table = pd.DataFrame(rows)
    # A search names its trials differently for each kind of rider. Such models have no total score and come last.
    return table.sort_values(["rmsle_valid", "model"], ignore_index=True)


def settings_of_models(tables: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, Any]]:
    """Return each model's training settings by predictor and model, including the settings that a search chose."""
    rows = {part: table.sort_values("model").to_dict("records") for part, table in tables.items()}
    return {
        part: {row["model"]: row["child_hyperparameters"] or row["hyperparameters"] for row in own}
        for part, own in rows.items()
    }


def searched(board: pd.DataFrame, settings: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> pd.DataFrame:
    """Return the trials of a search, one row for each trial and parameter that differs among the trials of its model.

    ``board`` is the leaderboard, ``settings`` are `settings_of_models`. Columns: riders, model (without the trial), trial,
    parameter, value (JSON) and rmsle. Empty for models with fewer than three trials.
    """
    rows = []
    for riders, models in settings.items():
        column = f"rmsle_{riders}" if f"rmsle_{riders}" in board else "rmsle_valid"
        scores = board.set_index("model")[column].dropna().to_dict()
        families: dict[str, dict[int, str]] = {}
        for name in sorted(models.keys() & scores.keys()):
            if trial := TRIAL.search(name):
                families.setdefault(TRIAL.sub("", name), {})[int(trial[1])] = name
        for family, names in families.items():
            tried = [{"trial": trial, "rmsle": scores[names[trial]], **models[names[trial]]} for trial in sorted(names)]
            for key in tried[0]:
                values = [json.dumps(one.get(key), default=str) for one in tried]
                if len(tried) >= 3 and len(set(values)) > 1 and key not in ("trial", "rmsle"):
                    rows += [
                        (riders, family, one["trial"], key, value, one["rmsle"])
                        for one, value in zip(tried, values, strict=True)
                    ]
    return pd.DataFrame(rows, columns=["riders", "model", "trial", "parameter", "value", "rmsle"])


def importance(forecaster: Forecaster, valid: pd.DataFrame, when: pd.Series) -> pd.DataFrame:
    """Return how much the RMSLE grows when one feature's values are shuffled among validation rows, largest first.

    Uses the rows of at most `IMPORTANCE_DAYS` evenly spaced days. ``when`` is each row's hour. Columns: feature,
    rmsle_growth (the mean over `SHUFFLES` shuffles) and spread (half the distance from the lowest to the highest).
    """
    date = when.dt.normalize()
    dates = date.unique()
    sampled = dates[np.linspace(0, len(dates) - 1, min(IMPORTANCE_DAYS, len(dates))).astype(int)]
    rows = valid[date.isin(sampled).to_numpy()]
    features, actual = rows.drop(columns=list(COUNTS)), rows["count"].to_numpy()
    base = rmsle(actual, forecaster.predict(features, forecaster.validated))
    random = np.random.default_rng(0)
    orders = [random.permutation(len(features)) for _ in range(SHUFFLES)]
    shuffled = [features.assign(**{column: features[column].array[order]}) for column in features for order in orders]
    # One call for all shuffles is cheaper. A model that reads whole days would mix rows of different shuffles in one day.
    tables = shuffled if forecaster.reads_days else [pd.concat(shuffled, ignore_index=True)]
    progress = tqdm(tables, desc="bikes permutation importance", unit=" predictions")
    predicted = np.concatenate([forecaster.predict(table, forecaster.validated) for table in progress])
    growth = np.array([rmsle(actual, riders) for riders in predicted.reshape(len(shuffled), -1)]) - base
    growth = growth.reshape(len(features.columns), SHUFFLES)
    spread = (growth.max(axis=1) - growth.min(axis=1)) / 2
    table = pd.DataFrame({"feature": features.columns, "rmsle_growth": growth.mean(axis=1), "spread": spread}).round(6)
    return table.sort_values(["rmsle_growth", "feature"], ascending=[False, True], ignore_index=True)


def main() -> None:
    forecaster = load(files.require(TRAINED, "train@bikes"))
    forecaster.hold(forecaster.validated, forecaster.final)
    hours = pd.read_parquet(files.require(FEATURES, "featurize@bikes") / "hours.parquet")
    valid, test = (pd.read_parquet(FEATURES / f"{part}.parquet") for part in ("valid", "test"))
    when = {part: rows["datetime"].reset_index(drop=True) for part, rows in hours.groupby("part")}
    actual = valid["count"].to_numpy()
    validated = forecaster.predict(valid, forecaster.validated)
    predicted = forecaster.predict(test)

    held_out = hours[hours["part"] == "valid"].reset_index(drop=True)
    about, settings = files.read_json(FEATURES / "about.json"), files.read_json(TRAINED / "forecaster.json")
    ranges = plausible.ranges(hours[hours["part"] != "test"])
    alone = Record(about["features"], hours, ranges).features(held_out, alone=True)
    validated_alone = forecaster.predict_apart(alone, held_out["datetime"], forecaster.validated)

    metrics: dict[str, object] = {"data": about["source"], "rmsle_valid": rmsle(actual, validated)}
    details: dict[str, object] = {
        "best_model": " + ".join(dict.fromkeys(forecaster.validated.values())),
        "rmse_valid": rmse(actual, validated),
        "rmsle_valid_alone": rmsle(actual, validated_alone),
    }
    low, high = forecaster.interval(predicted)
    results = pd.DataFrame({"datetime": when["test"], "predicted": predicted, "low": low, "high": high})
    if (FEATURES / "answers.parquet").exists():
        results["actual"] = pd.read_parquet(FEATURES / "answers.parquet")["count"]
        metrics["rmsle_test"] = rmsle(results["actual"].to_numpy(), predicted)
        details["coverage_test"] = round(float(results["actual"].between(low, high).mean()), 6)
    if settings["time_limit"] is not None:
        details["time_limit"] = settings["time_limit"]  # s; results with a time limit may not reproduce

    with lean():
        tables = {part: predictor.leaderboard(extra_info=True) for part, predictor in forecaster.predictors.items()}
    with files.new_folder(EVALUATION) as folder:
        board, chosen = leaderboard(forecaster, tables.values(), valid, actual), settings_of_models(tables)
        files.write_json(folder / "settings.json", chosen)
        write_table(folder / "leaderboard.csv", board)
        if len(trials := searched(board, chosen)):
            write_table(folder / "trials.csv", trials)
        write_table(folder / "importance.csv", importance(forecaster, valid, when["valid"]))
        validation = pd.DataFrame({"datetime": when["valid"], "actual": actual, "predicted": validated})
        write_table(folder / "validation.csv", validation)
        write_table(folder / "test.csv", results)
    with files.new_file(SUBMISSION) as partial:
        write_table(partial, pd.DataFrame({"datetime": when["test"], "count": predicted.round(4)}))
    files.write_json(METRICS, metrics)
    files.write_json(DETAILS, details)
    print(", ".join(f"{name} {value}" for name, value in (metrics | details).items()))


def write_table(path: Path, table: pd.DataFrame) -> None:
    table.to_csv(path, index=False, date_format=FORMAT, lineterminator="\n")


if __name__ == "__main__":
    run(main)
