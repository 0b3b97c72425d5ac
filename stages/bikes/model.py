"""The forecaster: one AutoGluon predictor for each kind of rider, and the conversion of their predictions to riders.

train stores its folder and evaluate measures it. The export contains this module, so the served model is the measured
one. From the project it imports only the models.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from autogluon.common.utils.resource_utils import ResourceManager
from autogluon.core.models import AbstractModel
from autogluon.tabular import TabularPredictor
from autogluon.tabular.predictor import predictor as autogluon_predictor

from stages.bikes import learners  # noqa: F401 (the predictors' pickles need it)

TRAINED = Path("models/bikes/trained")
SETTINGS = "settings.json"
"""The parameters of the training, in TRAINED."""

PARTS = {"apart": ["casual", "registered"], "together": ["count"]}
TARGET = "target"
"""The column that a predictor learns: riders, or log(1 + riders)."""

ROOM = 1.5
"""No forecast is above the largest hour of the training days, times this: nobody could rent so many bikes."""

COVERED = 0.8
"""Fraction of the hours whose riders lie in the interval, where hours are like the validation hours."""

GROUPS, SMALLEST = 10, 50
"""Largest number of groups of hours whose intervals are measured, and their smallest size (in one group it may be smaller)."""

SEQUENCE = Path(__file__).with_name("sequence.py")
"""The module of the model `sequence`. It is imported when a predictor that has this model is loaded: it needs torch."""


@dataclass(frozen=True)
class Forecaster:
    """Predictors by kind of rider (casual and registered, or count), and the target that they predict."""

    predictors: dict[str, TabularPredictor]
    target: str
    validated: dict[str, str]
    """The best model of each predictor, trained without the validation days."""
    final: dict[str, str]
    """The same model of each predictor, retrained on all training days."""
    largest: dict[str, float]
    """The largest forecast of each predictor, riders per hour."""
    intervals: dict[str, list[float]]
    """What `intervals` returned for the validation hours."""

    def hold(self, *models: dict[str, str]) -> None:
        """Keep ``models`` (such as `validated` or `final`) in memory. AutoGluon reads others from disk for each prediction."""
        for part, predictor in self.predictors.items():
            # No memory limit: to compare with a limit, AutoGluon would pickle each model to get its size.
            predictor.persist([names[part] for names in models], max_memory=None)

    @property
    def reads_days(self) -> bool:
        """Whether a prediction depends on other rows: `sequence` reads all rows of the same day."""
        names = (name for predictor in self.predictors.values() for name in predictor.model_names())
        return any("Sequence" in name for name in names)

    def predict(self, features: pd.DataFrame, models: dict[str, str] | None = None) -> np.ndarray:
        """Return riders per hour, float64 (rows), from 0 to the sum of `largest`.

        ``models``: one per predictor; default: the final ones.
        """
        chosen = models or self.final
        parts = [
            self.riders(part, predictor.predict(features, model=chosen[part], as_pandas=False))
            for part, predictor in self.predictors.items()
        ]
        return np.asarray(np.sum(parts, axis=0))

    def predict_apart(
        self, features: pd.DataFrame, when: pd.Series, models: dict[str, str] | None = None
    ) -> np.ndarray:
        """Return what `predict` returns, each hour without its neighbours. ``when``: the hour of each row.

        A model that reads whole days gets the hours of one date one after the other, each as a day of its own.
        """
        if not self.reads_days:
            return self.predict(features, models)
        turn = when.groupby(when.dt.normalize()).cumcount().to_numpy()
        riders = np.empty(len(features))
        for one in range(turn.max(initial=-1) + 1):
            riders[turn == one] = self.predict(features[turn == one], models)
        return riders

    def interval(self, riders: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and the highest riders per hour in which `COVERED` of the hours are, float64 (rows) each.

        ``riders``: what `predict` returned. It lies within the interval.
        """
        level = np.log1p(riders)
        errors = (np.interp(level, self.intervals["level"], self.intervals[end]) for end in ("low", "high"))
        low, high = (np.expm1(level + error) for error in errors)
        return np.minimum(np.maximum(low, 0.0), riders), np.maximum(high, riders)

    def riders(self, part: str, predicted: np.ndarray) -> np.ndarray:
        """Return what the predictor of ``part`` predicted as riders per hour, float64."""
        return limited(predicted, self.target, self.largest[part])


def intervals(predicted: np.ndarray, actual: np.ndarray) -> dict[str, list[float]]:
    """Return the errors between which `COVERED` of the hours are, for groups of hours with similar forecasts.

    ``predicted`` and ``actual`` are riders per hour, float (hours), of hours that the models were not fitted to. In each
    group, the bounds are those of split conformal prediction (Vovk, Gammerman and Shafer, 2005, with the forecast's level
    as the taxonomy). Returns by name, for each group: `level`, its median of log(1 + predicted), and `low` and `high`,
    errors of log(1 + riders).
    """
    level = np.log1p(predicted)
    error = np.log1p(actual) - level
    groups = np.array_split(np.argsort(level, kind="stable"), max(1, min(GROUPS, len(level) // SMALLEST)))
    found: dict[str, list[float]] = {"level": [], "low": [], "high": []}
    for group in groups:
        ranked = np.sort(error[group])
        outside = max(0, int((len(ranked) + 1) * (1 - COVERED) / 2) - 1)  # errors below `low`, and above `high`
        for name, value in zip(found, (np.median(level[group]), ranked[outside], ranked[-1 - outside]), strict=True):
            found[name].append(round(float(value), 6))
    return found


def limited(predicted: np.ndarray, target: str, largest: float) -> np.ndarray:
    """Return riders per hour, float64, from 0 to ``largest``."""
    predicted = predicted.astype(np.float64)
    return np.asarray((np.expm1(predicted) if target == "log1p" else predicted).clip(0.0, largest))


def load(folder: Path = TRAINED) -> Forecaster:
    """Load the forecaster that train stored in ``folder``."""
    about = json.loads((folder / "forecaster.json").read_text(encoding="utf-8"))
    with lean():
        predictors = {part: TabularPredictor.load(str(folder / part), verbosity=0) for part in PARTS[about["riders"]]}
    fields = ("target", "validated", "final", "largest", "intervals")
    return Forecaster(predictors, *(about[name] for name in fields))


@contextmanager
def lean() -> Iterator[None]:
    """Skip steps of AutoGluon that are slow or write the machine's facts into a predictor, whose results are not used here.

    At each save and load AutoGluon lists all installed packages (0.3 s); it stores them with Python's version in
    metadata.json, and refuses a predictor of another minor version of Python. Here the same files are written by every
    version, so each reads the others' (version.txt, AutoGluon's own version, is stored and compared). AutoGluon imports
    torch (3 s) to log torch's version and to count GPUs, which no model here uses. It pickles a model to get its size
    in memory.
    """
    nothing: dict[str, Any] = {"py_version": "", "py_version_micro": "", "packages": {}, "packages_invalid": []}
    answers: list[tuple[Any, str, Any]] = [
        (autogluon_predictor, "get_autogluon_metadata", lambda: nothing),
        (TabularPredictor, "_save_metadata_file", lambda *_, **__: None),
        (TabularPredictor, "_load_metadata_file", lambda *_, **__: nothing),
        (autogluon_predictor, "get_ag_system_info", lambda **_: "not listed"),
        (ResourceManager, "get_gpu_count_torch", staticmethod(lambda cuda_only=False: 0)),
        (AbstractModel, "get_memory_size", lambda *_, **__: 0),
    ]
    with ExitStack() as stack:
        for owner, name, answer in answers:
            stack.enter_context(mock.patch.object(owner, name, answer))
        yield
