"""The models that AutoGluon trains besides its own: boosted trees with a fixed number of rounds, and a linear model.

AutoGluon's own boosters stop when the validation score does, and so report the best of many looks at the validation
days. These don't see them, train as many rounds as they are told, and give the same model each time.
"""

from typing import Any, ClassVar

import numpy as np
import pandas as pd
from autogluon.core.models import AbstractModel
from autogluon.tabular.models import CatBoostModel, LGBModel, XGBoostModel
from scipy import sparse

SINGLE_DAYS = ("day", "day_of_year")
"""Columns by which a tree can learn single training days by heart. No day to predict is among them, and what New Year's
tells of Christmas would go to its date; trees get the fortnights instead."""


class _FixedRounds:
    """Keeps the validation rows from a booster, and the columns that single out a day."""

    def _fit(self, X: pd.DataFrame, y: pd.Series, X_val: object = None, y_val: object = None, **kwargs: Any) -> None:
        super()._fit(X=X, y=y, **kwargs)  # type: ignore[misc]

    def _get_valid_features(self, *args: Any, **kwargs: Any) -> list[str]:
        features = super()._get_valid_features(*args, **kwargs)  # type: ignore[misc]
        return [feature for feature in features if feature not in SINGLE_DAYS]


class LightGBM(_FixedRounds, LGBModel):
    ag_key = "BIKES_LIGHTGBM"
    ag_name = "LightGBM"


class XGBoost(_FixedRounds, XGBoostModel):
    ag_key = "BIKES_XGBOOST"
    ag_name = "XGBoost"


class CatBoost(_FixedRounds, CatBoostModel):
    ag_key = "BIKES_CATBOOST"
    ag_name = "CatBoost"


class Own(AbstractModel):
    """What AutoGluon asks of models that are not its own."""

    _default_auxiliary_params_extra: ClassVar = {"drop_unique": False}  # in a small data set one may be constant

    def _more_tags(self) -> dict[str, bool]:
        return {"can_refit_full": True}

    @classmethod
    def _estimate_memory_usage_static(cls, *, X: pd.DataFrame, **kwargs: Any) -> int:
        """Bytes; without an estimate it leaves out a model that is to be trained beside others."""
        return 10 * int(X.memory_usage(deep=True).sum())


class Linear(Own):
    """Ridge regression on the hour of each kind of day, the season, a trend and the weather.

    On the logarithm of demand these effects very nearly add up: this alone does as well as boosted trees, errs
    elsewhere, and continues what trees can't (a rare kind of day in a month that never had one). It takes the
    `full` features. Parameter: ``alpha``, the ridge penalty.
    """

    ag_key = "BIKES_LINEAR"
    ag_name = "Linear"

    def _fit(self, X: pd.DataFrame, y: pd.Series, **kwargs: Any) -> None:
        from sklearn.linear_model import Ridge

        self.model = Ridge(**self._get_model_params()).fit(design(self.preprocess(X)), y)

    def _predict_proba(self, X: pd.DataFrame, **kwargs: Any) -> np.ndarray:
        return np.asarray(self.model.predict(design(self.preprocess(X))))


KNOTS = np.arange(-5, 760, 30.5)
"""Days since the first one, a month apart: between its training days demand's level is interpolated."""


def design(X: pd.DataFrame) -> sparse.csr_matrix:
    """The ridge's inputs (rows, about 400) from the `full` features, centred and scaled roughly to 1."""
    hour, quarter = X["hour"].to_numpy(), X["quarter"].to_numpy()
    month = np.abs(X["day"].to_numpy()[:, None] - KNOTS) / 30.5
    warmth = (X["temp"] - 20) / 8
    humidity = (X["humidity"] - 60) / 20
    vapour = X["vapour_pressure"] / 10
    rain = (X["weather"] > 2.5).astype(float)
    columns = [
        *(warmth, warmth**2, (warmth - 1.2).clip(lower=0), X["day_temp_anomaly"] / 4, humidity, humidity**2, vapour),
        *(vapour**2, X["windspeed"] / 8, X["wind_24h"] / 8, X["feels_warmer"] / 3, X["temp_last_72h"] / 8),
        *(X["day_temp_max"] / 10, X["day_temp_min"] / 10, rain, (X["weather"] == 2).astype(float)),
        *(X[f"weather_{when}"] > 2.5 for when in ("1h_ago", "2h_ago", "3h_ago", "in_1h")),
        *(X["rain_last_6h"], X["rain_next_3h"], X["day_rain_hours"] / 10, X["daylight_rain_hours"] / 5),
        *(X["yesterday_rain_hours"] / 10, X["day_missing_hours"] / 10, X["missing_5h"]),
        *(X["quiet"], X["major_holiday"], X["short_staffed"]),
    ]
    part_of_day = _one_hot(hour // 3 + 8 * (X["off"] > 0.75).to_numpy(), 16)
    return sparse.hstack(
        [
            _one_hot(X["hour_of_pattern"].to_numpy(), 24 * 8),
            _one_hot(hour + 24 * (quarter - 1), 24 * 4),
            sparse.csr_matrix(np.maximum(0, 1 - month)),
            sparse.csr_matrix(np.column_stack([np.asarray(column, float) for column in columns])),
            *(sparse.diags(np.asarray(by, float)) @ part_of_day for by in (warmth, rain, X["day"] / 731)),
        ]
    ).tocsr()


def _one_hot(codes: np.ndarray, size: int) -> sparse.csr_matrix:
    rows = np.arange(len(codes))
    return sparse.csr_matrix((np.ones(len(codes)), (rows, codes.astype(int))), shape=(len(codes), size))


def by_name(name: str) -> type[AbstractModel]:
    """The model that `bikes.models` calls so."""
    if name == "sequence":
        from stages.bikes.sequence import Sequence  # torch, for those who need it

        return Sequence
    return {"linear": Linear, "lightgbm": LightGBM, "xgboost": XGBoost, "catboost": CatBoost}[name]
