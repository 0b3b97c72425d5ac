"""The settings that a search tries. They are sampled before training, so the trials are models like any other.

AutoGluon's own search would train one trial after the other. On a cluster it would use Ray Tune, which samples other
settings.
"""

from typing import Any

from autogluon.common import space
from autogluon.core.searcher import LocalRandomSearcher

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


def drawn(name: str, own: dict[str, Any], trials: int) -> list[dict[str, Any]]:
    """Return ``trials`` settings for the model ``name`` of `bikes.models`. Settings in ``own`` without a range are kept."""
    searcher = LocalRandomSearcher(search_space=own | RANGES[name])
    # The first trials of all models are trained before any second trial, so that a time limit affects all models equally.
    return [
        searcher.get_config() | {"ag_args": {"name_suffix": f"_T{trial}", "priority": -trial}}
        for trial in range(1, trials + 1)
    ]
