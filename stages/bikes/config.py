"""Parameters of bikes: names, ranges, choices, units. Their values are in params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from stages.common.config import VERSION, Section
from stages.common.errors import InputError
from stages.common.sources.source import SourceSettings

Share = Annotated[float, Field(gt=0, le=1)]
Rounds = Annotated[int, Field(ge=1, le=20_000)]
Rate = Annotated[float, Field(gt=0, le=1)]
Model = Literal["linear", "residual", "lightgbm", "xgboost", "catboost", "sequence", "portfolio"]


class Data(SourceSettings):
    """The group `data.bikes`. prepare and featurize read it."""

    valid_days: int = Field(ge=1, le=15, description="the last training days of each month are the validation days")
    features: Literal["raw", "calendar", "full"] = Field(
        description="raw: Kaggle's columns; calendar: parts of the date, categories; full: kind of day, nearby weather"
    )


class Linear(Section):
    """Ridge regression."""

    alpha: float = Field(gt=0, le=1e6, description="penalty")


class Sampled(Section):
    """Boosted trees. Each tree sees a sample of the rows and columns."""

    rounds: Rounds
    learning_rate: Rate
    rows: Share = Field(description="fraction of the rows for each tree")
    columns: Share = Field(description="fraction of the columns for each tree")


class LightGBM(Sampled):
    """Trees grown leaf by leaf."""

    leaves: int = Field(ge=2, le=4096)


class XGBoost(Sampled):
    """Trees grown level by level."""

    depth: int = Field(ge=1, le=16)


class CatBoost(Section):
    """Symmetric trees."""

    rounds: Rounds
    learning_rate: Rate
    depth: int = Field(ge=1, le=12)
    borders: int = Field(ge=1, le=255, description="candidate split thresholds per feature")


class Sequence(Section):
    """A bidirectional GRU over the hours of a day."""

    copies: int = Field(ge=1, le=20, description="networks trained with different seeds")
    epochs: int = Field(ge=1, le=1000)
    hidden: int = Field(ge=1, le=1024, description="units")
    dropout: float = Field(ge=0, lt=1)
    days_per_batch: int = Field(ge=1, le=1024)
    learning_rate: Rate = Field(description="peak of one cycle")
    weight_decay: float = Field(ge=0, le=1)


class Search(Section):
    """AutoGluon's hyperparameter search. Each listed model, and each family of the portfolio, gets `trials` settings."""

    trials: int = Field(ge=0, le=10_000, description="0: no search")
    scheduler: Literal["local"] = Field(description="one trial after the other")
    searcher: Literal["random"]


class Train(Section):
    """The group `bikes`. train reads it."""

    seed: int = Field(ge=0, lt=2**31)
    threads: int = Field(ge=1, le=256, description="CPU threads per model; the same number gives the same bytes")
    riders: Literal["apart", "together"] = Field(
        description="apart: one model for casual, one for registered riders; together: one for the count"
    )
    target: Literal["log1p", "counts"] = Field(description="what the models predict: log(1 + riders), or riders")
    models: list[Model] = Field(
        min_length=1, description="models to train for the ensemble; portfolio: AutoGluon's own choice"
    )
    linear: Linear
    residual: LightGBM = Field(description="boosted trees that learn what the linear model leaves")
    lightgbm: LightGBM
    xgboost: XGBoost
    catboost: CatBoost
    sequence: Sequence
    presets: Literal["best_quality", "good_quality", "medium_quality"] | None
    bag_folds: int = Field(ge=0, le=15, description="blocks of days for bagging each model; 0: no bagging")
    stack_levels: int = Field(ge=0, le=3, description="layers of models that use models' predictions; needs bagging")
    search: Search
    time_limit: int | None = Field(
        ge=1, description="seconds for training, final refit excluded; null: no limit, and results are reproducible"
    )

    @field_validator("models")
    @classmethod
    def once_each(cls, models: list[str]) -> list[str]:
        if len(set(models)) < len(models):
            raise ValueError("each model only once")
        return models

    @field_validator("bag_folds")
    @classmethod
    def more_than_one(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("0 or at least 2")
        return folds


def check_together(features: str, settings: Train) -> None:
    """Raise InputError if a model lacks its features, which are in another group, or stacking lacks bagging."""
    needing = [name for name in ("linear", "residual", "sequence") if name in settings.models]
    if needing and features != "full":
        given = f"bikes.models = {settings.models} is not allowed with data.bikes.features = {features}"
        raise InputError(f"params.yaml: {given}: {', '.join(needing)} must have full")
    if settings.stack_levels and not settings.bag_folds:
        given = f"bikes.stack_levels = {settings.stack_levels} is not allowed with bikes.bag_folds = 0"
        raise InputError(f"params.yaml: {given}: expected stack_levels 0, or bag_folds of at least 2")


class Deploy(Section):
    """The group `deploy.bikes`. deploy reads it."""

    version: str | None = Field(pattern=VERSION, description="a released version; null: the current export")
    batch: int = Field(ge=1, le=10_000, description="rows per request when deploy sends the whole test set")
    single: int = Field(ge=1, le=10_000, description="one-row requests for measuring latency")
