"""The settings that a search tries. AutoGluon's scheduler and searcher sample them before training.

So the trials are models like any other. AutoGluon's own `hyperparameter_tune_kwargs` scores a bagged trial on its folds and
the ensemble on the validation days, so it would compare the two. It would also start Ray for neural networks, and train
one trial after the other on a cluster.
"""

from importlib.util import find_spec
from typing import Any

from autogluon.common import space
from autogluon.core.constants import REGRESSION
from autogluon.core.scheduler.scheduler_factory import scheduler_factory
from autogluon.tabular.registry import ag_model_registry

from stages.bikes.config import Train

RANGES = {
    "linear": {"alpha": space.Real(0.05, 20.0, log=True)},
    "residual": {"learning_rate": space.Real(0.01, 0.1, log=True), "num_leaves": space.Int(8, 64)},
    "lightgbm": {
        "learning_rate": space.Real(0.01, 0.1, log=True),
        "num_leaves": space.Int(8, 64),
        "feature_fraction": space.Real(0.3, 1.0),
        "min_data_in_leaf": space.Int(2, 60, default=20),
    },
    "xgboost": {
        "learning_rate": space.Real(0.01, 0.1, log=True),
        "max_depth": space.Int(3, 9),
        "colsample_bytree": space.Real(0.3, 1.0),
    },
    "catboost": {
        "learning_rate": space.Real(0.02, 0.15, log=True),
        "depth": space.Int(4, 8),
        "l2_leaf_reg": space.Real(1, 5, default=3),
    },
    "sequence": {"learning_rate": space.Real(1e-3, 1e-2, log=True), "dropout": space.Real(0.1, 0.5)},
}
"""Ranges that a search samples instead of the model's own settings. The first trial uses the default if given, or the
lower end."""

FAMILIES: dict[str, list[dict[str, Any]]] = {
    "GBM": [{}, {"extra_trees": True, "ag_args": {"name_suffix": "XT"}}],
    "XGB": [{}],
    "CAT": [{}],
    "RF": [{}],
    "XT": [{}],
    "KNN": [{"weights": weights, "ag_args": {"name_suffix": weights.title()}} for weights in ("uniform", "distance")],
    "NN_TORCH": [{}],
    **({"FASTAI": [{}]} if find_spec("fastai") else {}),
}
"""AutoGluon's families of models. A search takes them for the portfolio, whose hundred models have fixed settings."""


LARGEST = 0.05
"""Largest part of a time limit that one trial may take, so that a slow family leaves time for trials of the others."""


def family(name: str, settings: Train) -> list[dict[str, Any]]:
    """Return the trials of one of `FAMILIES`, in AutoGluon's own ranges. Forests and neighbours have none: one model each."""
    ranges = ag_model_registry.key_to_cls(name)(path="", problem_type=REGRESSION)._get_default_searchspace()
    return [trial for own in FAMILIES[name] for trial in (drawn(own, ranges, settings) if ranges else [own])]


def drawn(own: dict[str, Any], ranges: dict[str, Any], settings: Train) -> list[dict[str, Any]]:
    """Return the settings of each trial: ``own``, with values that AutoGluon's searcher samples from ``ranges``."""
    search = settings.search
    asked = {"num_trials": search.trials, "scheduler": search.scheduler, "searcher": search.searcher}
    scheduler, options = scheduler_factory(asked | {"search_options": {"random_seed": settings.seed}})
    searcher = scheduler(None, search_space=own | ranges, **options).searcher
    named = own.get("ag_args", {}).get("name_suffix", "")
    limit = settings.time_limit and {"ag.max_time_limit": LARGEST * settings.time_limit / max(1, settings.bag_folds)}
    # The first trials of all models are trained before any second trial, so that a time limit affects all models equally.
    return [
        {**searcher.get_config(), **(limit or {}), "ag_args": {"name_suffix": f"{named}_T{trial}", "priority": -trial}}
        for trial in range(1, search.trials + 1)
    ]
