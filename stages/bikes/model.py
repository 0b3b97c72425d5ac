"""The forecaster: one AutoGluon predictor for each kind of rider, and the way from what they predict to riders.

Train stores its folder, evaluate measures it, and the export carries this very module, so that what is served is what
was measured. It imports nothing of the project but the models.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from autogluon.tabular import TabularPredictor

from stages.bikes import learners  # noqa: F401 (the predictors' pickles name it)

TRAINED = Path("models/bikes/trained")
PARTS = {"apart": ["casual", "registered"], "together": ["count"]}
TARGET = "target"
"""The column that a predictor learns: riders, or log(1 + riders)."""


@dataclass(frozen=True)
class Forecaster:
    """Predictors by kind of rider (casual and registered, or count), and the target that they learnt."""

    predictors: dict[str, TabularPredictor]
    target: str
    validated: dict[str, str]
    """The best model of each predictor, trained without the validation days."""
    final: dict[str, str]
    """The same, trained again on all training days."""

    def predict(self, features: pd.DataFrame, models: dict[str, str] | None = None) -> np.ndarray:
        """Riders an hour, float64 (rows), never negative; by the final models or by ``models``, one a predictor."""
        chosen = models or self.final
        parts = [
            to_riders(predictor.predict(features, model=chosen[part], as_pandas=False), self.target)
            for part, predictor in self.predictors.items()
        ]
        return np.asarray(np.sum(parts, axis=0))


def to_target(riders: pd.Series, target: str) -> pd.Series:
    return pd.Series(np.log1p(riders)) if target == "log1p" else riders.astype(float)


def to_riders(predicted: np.ndarray, target: str) -> np.ndarray:
    """Float64, at least 0."""
    predicted = predicted.astype(np.float64)
    return np.asarray(np.maximum(np.expm1(predicted) if target == "log1p" else predicted, 0.0))


def load(folder: Path = TRAINED) -> Forecaster:
    """The forecaster that train stored in ``folder``."""
    about = json.loads((folder / "forecaster.json").read_text(encoding="utf-8"))
    predictors = {part: TabularPredictor.load(str(folder / part), verbosity=0) for part in PARTS[about["riders"]]}
    return Forecaster(predictors, about["target"], about["validated"], about["final"])
