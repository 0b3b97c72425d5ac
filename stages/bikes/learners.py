"""Define models for AutoGluon besides its own: boosted trees, a linear model, trees that learn what the latter leaves.

AutoGluon's own boosters stop when the validation score stops improving. So they report the best of many scores on the
validation days. The boosters here do not see those days, train a fixed number of rounds, and give the same model each
time.
"""

from typing import Any, ClassVar

import numpy as np
import pandas as pd
from autogluon.core.models import AbstractModel
from autogluon.tabular.models import CatBoostModel, LGBModel, XGBoostModel
from scipy import sparse

SINGLE_DAYS = ("day", "day_of_year")
"""Columns with which a tree can memorise single training days. Test days never have these values, and a holiday's effect
would be attributed to its date. Trees get the fortnights instead."""

CALENDAR = (
    *("hour", "day_of_year", "fortnight_of_year", "month", "quarter", "off", "off_yesterday", "off_tomorrow", "works"),
    *("major_holiday", "short_staffed", "quiet", "acts_as", "pattern", "hour_of_pattern", "hour_by_off", "night_off"),
    "nearest_off",
)
"""The `full` features that come back each year. The others, growth and weather, may leave the range of the training."""


class _FixedRounds:
    """Train a booster without the validation rows and without the columns that identify a single day."""

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
    """Base class of models that are not AutoGluon's own."""

    _default_auxiliary_params_extra: ClassVar = {"drop_unique": False}  # in a small data set a feature may be constant

    def _more_tags(self) -> dict[str, bool]:
        return {"can_refit_full": True}

    @classmethod
    def _estimate_memory_usage_static(cls, *, X: pd.DataFrame, **kwargs: Any) -> int:
        """Return an estimate in bytes. Without one, AutoGluon skips a model when it trains models in parallel."""
        return 10 * int(X.memory_usage(deep=True).sum())

    def _learn_range(self, X: pd.DataFrame) -> None:
        """Remember the range of each feature in the training rows, except for the calendar's."""
        free = np.array([column in CALENDAR for column in X.columns])
        values = X.to_numpy(float)
        self.low, self.high = np.where(free, -np.inf, values.min(0)), np.where(free, np.inf, values.max(0))

    def _held(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return ``X`` held within the range of the training rows, as trees hold it by themselves.

        So the growth of demand ends with the training period, and weather that training never saw counts as the
        nearest that it saw. Otherwise the exponential of a straight line forecasts millions of riders.
        """
        return pd.DataFrame(X.to_numpy(float).clip(self.low, self.high), X.index, X.columns)


class Linear(Own):
    """Ridge regression on the hour of each kind of day, the season, a trend and the weather.

    On the logarithm of demand these effects are almost additive. This model alone is as good as boosted trees and makes
    different errors. It also extrapolates where trees cannot, for example to a rare kind of day in a month that never
    had one. It takes the `full` features. Parameter: ``alpha``, the ridge penalty.
    """

    ag_key = "BIKES_LINEAR"
    ag_name = "Linear"

    def _fit(self, X: pd.DataFrame, y: pd.Series, **kwargs: Any) -> None:
        from sklearn.linear_model import Ridge

        X = self.preprocess(X)
        self._learn_range(X)
        self.model = Ridge(**self._get_model_params()).fit(design(X), y)

    def _predict_proba(self, X: pd.DataFrame, **kwargs: Any) -> np.ndarray:
        return np.asarray(self.model.predict(design(self._held(self.preprocess(X)))))


class Residual(Own):
    """`Linear`, and boosted trees that learn what it leaves.

    Trees alone give a kind of day that training never had to the nearest kind that it had. These correct the straight
    lines instead, so they extrapolate as `Linear` does. Parameters: ``alpha``, the ridge penalty, ``rounds``, and
    LightGBM's own.
    """

    ag_key = "BIKES_RESIDUAL"
    ag_name = "Residual"

    def _fit(self, X: pd.DataFrame, y: pd.Series, num_cpus: int = 1, **kwargs: Any) -> None:
        from lightgbm import Dataset, train
        from sklearn.linear_model import Ridge

        X = self.preprocess(X)
        self._learn_range(X)
        settings = self._get_model_params()
        rounds, inputs = settings.pop("rounds"), design(X)
        self.model = Ridge(alpha=settings.pop("alpha")).fit(inputs, y)
        left = Dataset(X.drop(columns=list(SINGLE_DAYS)), y - self.model.predict(inputs))
        self.trees = train({"num_threads": num_cpus, "verbose": -1} | settings, left, rounds)

    def _predict_proba(self, X: pd.DataFrame, num_cpus: int = 1, **kwargs: Any) -> np.ndarray:
        X = self.preprocess(X)
        left = self.trees.predict(X.drop(columns=list(SINGLE_DAYS)), num_threads=num_cpus)
        return np.asarray(self.model.predict(design(self._held(X))) + left)


KNOTS = np.arange(-5, 760, 30.5)
"""Days since `FIRST_DAY`, a month apart. The level of demand is interpolated between them."""


def design(X: pd.DataFrame) -> sparse.csr_matrix:
    """Return the ridge's inputs (rows, about 450) from the `full` features, centred and scaled roughly to 1."""
    x = dict(zip(X.columns, X.to_numpy(float).T, strict=True))  # in pandas each operation below takes 0.1 ms
    hour, quarter = x["hour"].astype(int), x["quarter"].astype(int)
    months = np.maximum(0, 1 - np.abs(x["day"][:, None] - KNOTS) / 30.5)
    warmth = (x["temp"] - 20) / 8
    humidity = (x["humidity"] - 60) / 20
    vapour = x["vapour_pressure"] / 10
    rain = x["weather"] > 2.5
    columns = [
        *(warmth, warmth**2, np.maximum(warmth - 1.2, 0), x["day_temp_anomaly"] / 4, humidity, humidity**2, vapour),
        *(vapour**2, x["windspeed"] / 8, x["wind_24h"] / 8, x["feels_warmer"] / 3, x["temp_last_72h"] / 8),
        *(x["day_temp_max"] / 10, x["day_temp_min"] / 10, rain, x["weather"] == 2),
        *(x[f"weather_{when}"] > 2.5 for when in ("1h_ago", "2h_ago", "3h_ago", "in_1h")),
        *(x["rain_last_6h"], x["rain_next_3h"], x["day_rain_hours"] / 10, x["daylight_rain_hours"] / 5),
        *(x["yesterday_rain_hours"] / 10, x["day_missing_hours"] / 10, x["missing_5h"]),
        *(x["quiet"], x["major_holiday"], x["short_staffed"]),
    ]
    dense = np.column_stack([months, *columns])
    one = np.ones(len(X))
    part_of_day = hour // 3 + 8 * (x["off"] > 0.75)
    hour_by_off = hour + 24 * (x["off"] > 0.75)
    # Blocks of columns: the width of each, and for each row the column indices in the block and their values.
    blocks = [
        (24 * 8, x["hour_of_pattern"].astype(int), one),
        (24 * 4, hour + 24 * (quarter - 1), one),
        (dense.shape[1], np.tile(np.arange(dense.shape[1]), (len(X), 1)), dense),
        *((16, part_of_day, by) for by in (warmth, rain)),
        *((48, hour_by_off, by) for by in (humidity, x["day"] / 731)),
    ]
    starts = np.cumsum([0, *(width for width, _, _ in blocks)])
    places = np.column_stack([start + at for start, (_, at, _) in zip(starts[:-1], blocks, strict=True)])
    values = np.column_stack([values for _, _, values in blocks])
    ends = np.arange(0, values.size + 1, values.shape[1])
    return sparse.csr_matrix((values.ravel(), places.ravel(), ends), shape=(len(X), starts[-1]))
