"""The models that `bikes.models` names, and their settings."""

from typing import Any

from autogluon.core.models import AbstractModel
from autogluon.tabular.configs.hyperparameter_configs import get_hyperparameter_config
from autogluon.tabular.configs.presets_configs import tabular_presets_dict
from autogluon.tabular.registry import ag_model_registry

from stages.bikes import learners
from stages.bikes.config import LightGBM, Train
from stages.bikes.learning import search


def hyperparameters(settings: Train) -> dict[Any, list[dict[str, Any]]]:
    """Return the settings for each model to train. A key is one of this project's classes or a name from AutoGluon."""
    alpha, xgboost, catboost = settings.linear.alpha, settings.xgboost, settings.catboost
    residual, lightgbm = (_lightgbm(group, settings.seed) for group in (settings.residual, settings.lightgbm))
    own: dict[str, dict[str, Any]] = {
        "linear": {"alpha": alpha},
        "residual": {"alpha": alpha, "rounds": settings.residual.rounds, **residual},
        "lightgbm": {"num_boost_round": settings.lightgbm.rounds, **lightgbm},
        "xgboost": {
            "n_estimators": xgboost.rounds,
            "learning_rate": xgboost.learning_rate,
            "max_depth": xgboost.depth,
            "subsample": xgboost.rows,
            "colsample_bytree": xgboost.columns,
            "min_child_weight": 5,
            "seed": settings.seed,
        },
        "catboost": {
            "iterations": catboost.rounds,
            "learning_rate": catboost.learning_rate,
            "depth": catboost.depth,
            "border_count": catboost.borders,
            "random_seed": settings.seed,
        },
        "sequence": settings.sequence.model_dump() | {"seed": settings.seed},
    }
    chosen: dict[Any, list[dict[str, Any]]] = {}
    searching = settings.search.trials > 0
    for name in settings.models:
        if name == "portfolio" and searching:
            chosen |= {key: search.family(key, settings) for key in search.FAMILIES}
        elif name == "portfolio":
            preset = tabular_presets_dict[settings.presets] if settings.presets else {}
            chosen |= get_hyperparameter_config(preset.get("hyperparameters", "default"))
        else:
            ranges = search.RANGES[name]
            chosen[learner(name)] = search.drawn(own[name], ranges, settings) if searching else [own[name]]
    return {
        key: seeded(key, trials, settings.seed) if isinstance(key, str) else trials for key, trials in chosen.items()
    }


def seeded(family: str, trials: dict[str, Any] | list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Return the settings of AutoGluon's own models of a ``family`` with the seed, which each family names differently."""
    name = ag_model_registry.key_to_cls(family).seed_name
    return [one | ({name: seed} if name else {}) for one in (trials if isinstance(trials, list) else [trials])]


def _lightgbm(settings: LightGBM, seed: int) -> dict[str, Any]:
    """Return LightGBM's parameters for ``settings``, without the number of rounds."""
    return {
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "bagging_fraction": settings.rows,
        "bagging_freq": 1,
        "feature_fraction": settings.columns,
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
    }


def learner(name: str) -> type[AbstractModel]:
    """Return the model that `bikes.models` calls ``name``."""
    if name == "sequence":
        from stages.bikes.sequence import Sequence  # torch, which the other models don't need

        return Sequence
    classes = learners.Linear, learners.Residual, learners.LightGBM, learners.XGBoost, learners.CatBoost
    return {one.__name__.lower(): one for one in classes}[name]
