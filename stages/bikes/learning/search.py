"""The settings that a search tries: drawn before anything is trained, so that the trials are models like any other.

AutoGluon's own search would train one after the other, and on a cluster draw others (Ray Tune's) than here.
"""

from typing import Any

from autogluon.common import space
from autogluon.core.searcher import LocalRandomSearcher

RANGES = {
    "linear": {"alpha": space.Real(0.05, 20.0, log=True)},
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
"""What a search tries in place of the model's own setting; the first trial has the default, or else the lower end."""


def drawn(name: str, own: dict[str, Any], trials: int) -> list[dict[str, Any]]:
    """As many settings as ``trials`` for the model that `bikes.models` calls ``name``, of which ``own`` are not searched."""
    searcher = LocalRandomSearcher(search_space=own | RANGES[name])
    # All models' first trials are trained before any second one, so that a time limit cuts all of them alike.
    return [
        searcher.get_config() | {"ag_args": {"name_suffix": f"_T{trial}", "priority": -trial}}
        for trial in range(1, trials + 1)
    ]
