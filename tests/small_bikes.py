"""bikes on two months of its sample with a few rounds, and its data in UCI's form."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from conftest import ROOT

from stages.bikes import evaluate, featurize, prepare, train

SMALL: dict[str, Any] = {
    "models": ["linear", "residual", "lightgbm", "xgboost", "catboost", "sequence"],
    "residual": {"rounds": 20, "learning_rate": 0.2, "leaves": 8, "rows": 0.8, "columns": 0.8},
    "lightgbm": {"rounds": 20, "learning_rate": 0.2, "leaves": 8, "rows": 0.8, "columns": 0.8},
    "xgboost": {"rounds": 20, "learning_rate": 0.2, "depth": 4, "rows": 0.8, "columns": 0.8},
    "catboost": {"rounds": 20, "learning_rate": 0.3, "depth": 4, "borders": 64},
    "sequence": {
        "copies": 2, "epochs": 2, "hidden": 8, "dropout": 0.1, "days_per_batch": 8, "learning_rate": 0.01, "weight_decay": 0.1,
    },
}  # fmt: skip


def set_parameters(root: Path, features: str = "full", **bikes: Any) -> None:
    parameters = yaml.safe_load((ROOT / "params.yaml").read_text())
    parameters["data"]["bikes"]["features"] = features
    parameters["bikes"] |= SMALL | bikes
    parameters["deploy"]["bikes"] = {"version": None, "batch": 300, "single": 3}
    shutil.copytree(ROOT / "metrics", root / "metrics", dirs_exist_ok=True)
    (root / "params.yaml").write_text(yaml.safe_dump(parameters))


def use_two_months() -> None:
    """Keep January and February of the sample, so that training takes a moment."""
    for path in prepare.RAW.glob("*.parquet"):
        table = pd.read_parquet(path)
        table[table["datetime"].dt.month.isin([1, 2])].reset_index(drop=True).to_parquet(path)


def run_row(root: Path, features: str = "full", **bikes: Any) -> dict[str, Any]:
    """Featurize, train and evaluate; the metrics."""
    set_parameters(root, features, **bikes)
    for stage in (featurize, train, evaluate):
        stage.main()
    metrics: dict[str, Any] = json.loads(evaluate.METRICS.read_text())
    return metrics


def to_uci(hours: pd.DataFrame) -> pd.DataFrame:
    """The way from Kaggle's units to UCI's."""
    units = {"temp": (41, 2), "atemp": (50, 4), "humidity": (100, 2), "windspeed": (67, 4)}
    scaled = {name: (hours[name] / most).round(digits) for name, (most, digits) in units.items()}
    when = {"dteday": hours["datetime"].dt.strftime("%Y-%m-%d"), "hr": hours["datetime"].dt.hour}
    names = {"weather": "weathersit", "humidity": "hum", "count": "cnt"}
    return hours.assign(**when, **scaled).drop(columns="datetime").rename(columns=names)
