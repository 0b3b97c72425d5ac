"""Compare bikes' default models with AutoGluon's own defaults: the same hours, held-out days and time.

    python -m benchmarks.bikes_training -S data.bikes.source=../data [--windows 2] [--json FILE]

For each of the first windows of `benchmarks.bikes_windows`, our stages featurize, train and predict the window with the
parameters of params.yaml. AutoGluon gets the seconds that they took as its `time_limit`, and the same hours: with its
defaults and with `best_quality`, on Kaggle's raw columns and on the `calendar` ones, in which a user would take the date
apart. It chooses its own validation rows and learns the number of riders; the last contestant learns log(1 + riders), as
ours do. `best_quality` goes without its trial of stacking, `dynamic_stacking`: on one core this takes longer than the
whole time, and AutoGluon's error then advises to leave it out. One thread each. The score is the RMSLE of all held-out
hours. Nothing is chosen on them.

`fraction_of_limit` is the time in which a core reads what the boosters must read at least, at the speed of a copy, over
the seconds taken: one byte for each row, sampled column and level of a tree.
"""

import argparse
import contextlib
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from autogluon.tabular import TabularPredictor

from benchmarks import bikes_windows, limits, measuring
from stages.bikes import featurize, prepare
from stages.bikes.config import Train
from stages.bikes.model import PARTS
from stages.bikes.train import COUNTS
from stages.common import config
from stages.experiments.records import recipes

PLAIN: dict[str, tuple[str, str | None, bool]] = {
    "AutoGluon, raw": ("raw", None, False),
    "AutoGluon, raw, best_quality": ("raw", "best_quality", False),
    "AutoGluon, calendar": ("calendar", None, False),
    "AutoGluon, calendar, best_quality": ("calendar", "best_quality", False),
    "AutoGluon, calendar, best_quality, log1p": ("calendar", "best_quality", True),
}
"""AutoGluon's columns (`data.bikes.features`), its presets, and whether it learns log(1 + riders)."""


def bytes_read(settings: Train, rows: int, columns: int) -> float:
    """Return the bytes that the boosters read at least to train all parts."""
    per_row = 0.0
    for name in settings.models:
        group: Any = getattr(settings, name, None)
        if name in ("residual", "lightgbm"):
            per_row += group.rounds * math.log2(group.leaves) * group.rows * group.columns
        elif name == "xgboost":
            per_row += group.rounds * group.depth * group.rows * group.columns
        elif name == "catboost":
            per_row += group.rounds * group.depth
    return per_row * rows * columns * len(PARTS[settings.riders])


def automatic(parameters: dict[str, Any], held_out: pd.Series, way: str, seconds: float, folder: Path) -> np.ndarray:
    """Return AutoGluon's forecast for the ``held_out`` times. Reads the raw tables as `bikes_windows.forecasts` leaves them."""
    features, presets, logarithm = PLAIN[way]
    Path("params.yaml").write_text(
        yaml.safe_dump(recipes.applied(parameters, {"data.bikes.features": features})), encoding="utf-8"
    )
    featurize.main()
    parts = {part: pd.read_parquet(featurize.FEATURES / f"{part}.parquet") for part in ("train", "valid", "test")}
    known = pd.concat([parts["train"], parts["valid"]], ignore_index=True)
    riders = known["count"].astype(float)
    table = known.drop(columns=COUNTS).assign(count=np.log1p(riders) if logarithm else riders)
    predictor = TabularPredictor("count", problem_type="regression", path=str(folder), verbosity=0)
    predictor.fit(
        table,
        presets=presets,
        time_limit=seconds,
        num_cpus=1,
        num_gpus=0,
        # Without Ray, whose start on one core takes longer than the training.
        ag_args_ensemble={"fold_fitting_strategy": "sequential_local"},
        dynamic_stacking=False,
    )
    hours = pd.read_parquet(featurize.FEATURES / "hours.parquet", columns=["datetime", "part"])
    asked = hours.loc[hours["part"] == "test", "datetime"].isin(held_out).to_numpy()
    predicted: np.ndarray = np.asarray(predictor.predict(parts["test"][asked].reset_index(drop=True), as_pandas=False))
    return np.asarray((np.expm1(predicted) if logarithm else predicted).clip(0))


def measure(settings: list[str], windows: int, ways: list[str]) -> dict[str, Any]:
    """Return each contestant's score and seconds. Runs in an empty folder of its own."""
    parameters = recipes.applied(config.read(), recipes.changes(settings))
    bikes_windows.TEMPORARY.mkdir(parents=True, exist_ok=True)
    errors: dict[str, list[np.ndarray]] = {name: [] for name in ("ours", *ways)}
    spent: dict[str, list[float]] = {name: [] for name in errors}
    read = 0.0
    with tempfile.TemporaryDirectory(dir=bikes_windows.TEMPORARY) as folder, contextlib.chdir(folder):
        config.PARAMETERS.write_text(yaml.safe_dump(parameters), encoding="utf-8")
        prepare.main()
        known, test = (pd.read_parquet(prepare.RAW / f"{part}.parquet") for part in ("train", "test"))
        for number in range(windows):
            config.PARAMETERS.write_text(yaml.safe_dump(parameters), encoding="utf-8")
            began = time.perf_counter()
            hours = bikes_windows.forecasts(known, test, number)
            forecasts = {"ours": hours["forecast"].to_numpy()}
            spent["ours"].append(time.perf_counter() - began)
            table = pd.read_parquet(featurize.FEATURES / "train.parquet")
            read += bytes_read(config.load("bikes", Train), len(table), table.shape[1] - len(COUNTS))
            for way in ways:
                began = time.perf_counter()
                models = Path(f"{number} {way}")
                forecasts[way] = automatic(parameters, hours["datetime"], way, spent["ours"][-1], models)
                spent[way].append(time.perf_counter() - began)
            for way, forecast in forecasts.items():
                errors[way].append((np.log1p(forecast) - np.log1p(hours["count"].to_numpy())) ** 2)
    speed = limits.gigabytes()
    rows = {
        way: {
            "rmsle": round(float(np.sqrt(np.concatenate(found).mean())), 4),
            "seconds_a_window": round(float(np.mean(spent[way])), 1),
        }
        for way, found in errors.items()
    }
    ratios = {way: round(row["rmsle"] / rows["ours"]["rmsle"], 3) for way, row in rows.items()}
    least = read / speed / 1e9
    print("\n".join(f"{way:42} {row} {ratios[way]:.2f}" for way, row in rows.items()))
    return {
        "windows": windows,
        "of": bikes_windows.WINDOWS,
        "contestants": rows,
        "rmsle_ratios": ratios,
        "gigabytes_per_second": round(speed, 1),
        "gigabytes_read_a_window": round(read / windows / 1e9, 2),
        "fraction_of_limit": round(least / sum(spent["ours"]), 4),
    }


def main(settings: list[str], windows: int, ways: list[str]) -> dict[str, Any]:
    return limits.processor() | measure(settings, windows, ways)


def arguments(parser: argparse.ArgumentParser) -> None:
    recipes.add_settings(parser)
    parser.add_argument("--windows", type=int, choices=range(1, bikes_windows.WINDOWS + 1), default=2)
    parser.add_argument("--ways", nargs="+", choices=PLAIN, default=list(PLAIN), help="AutoGluon's ways")


if __name__ == "__main__":
    measuring.run(main, arguments)
