"""Train the models on the training days, choose ensemble weights on the validation days, and retrain on both.

The validated models were not fitted to the validation days. But their ensemble weights, the best trial of a search, and
the stopping points of AutoGluon's own models are chosen there. So the validation score is slightly too good. The final
models, which predict the test hours, are trained on all training days with the same rounds and weights. Training takes
half a minute for Kaggle's 10,886 hours with the default parameters.

On a cluster, models, trials of a search and folds of a bag are trained in parallel, each exactly as on one machine. So
scores and weights are the same. The ensemble and the final training on all days run on this machine. The nodes write
into this working folder, which must be on a disk that all nodes mount at the same path.
"""

import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from autogluon.features.generators import AutoMLPipelineFeatureGenerator, IdentityFeatureGenerator
from autogluon.tabular import TabularPredictor

from stages.bikes.config import Train, check_together
from stages.bikes.learning.models import hyperparameters
from stages.bikes.learning.normalised import normalise
from stages.bikes.learning.progress import Progress, elsewhere
from stages.bikes.model import PARTS, ROOM, SETTINGS, TARGET, TRAINED, intervals, lean, limited
from stages.common import clocks, config, files
from stages.common.errors import InputError
from stages.common.program import run
from stages.engine import dispatch

FEATURES = Path("data/bikes/features")
COUNTS = ["casual", "registered", "count"]
BLOCK = "block"


def day_blocks(day_of_month: pd.Series, folds: int) -> pd.Series:
    """Return each row's fold, 0 to ``folds`` - 1: a block of neighbouring days of a month, so no day is in two folds."""
    return (day_of_month - 1) * folds // int(day_of_month.max())


class Fitted(NamedTuple):
    """What `fit` returns about a predictor."""

    best: str
    """Name of the best model."""
    final: str
    """Name of its copy that is trained on the validation days, too."""
    predicted: np.ndarray
    """What the best model predicts for the validation hours, in the target's unit."""
    models: dict[str, dict[str, float]]
    """Seconds to fit each model and to predict the validation hours with it."""


def fit(
    train: pd.DataFrame, valid: pd.DataFrame, settings: Train, part: str, folder: Path, cores: int | None
) -> Fitted:
    """Train the predictor of ``part`` (casual, registered or count) in ``folder`` on ``cores`` of a cluster (None: this machine).

    ``train`` and ``valid`` hold features and the column TARGET, and BLOCK if the models are bagged.
    """
    bagged = settings.bag_folds > 0
    predictor = TabularPredictor(
        TARGET,
        problem_type="regression",
        eval_metric="root_mean_squared_error",  # of log(1 + riders), which is RMSLE
        path=str(folder),
        groups=BLOCK if bagged else None,
        verbosity=1,
    )
    models = hyperparameters(settings)
    strict = settings.time_limit is None and "portfolio" not in settings.models
    # AutoGluon's own generator drops constant columns, but our models need them.
    plain = train.shape[1] == train.select_dtypes("number").shape[1]
    progress = Progress(part)
    listening: AbstractContextManager[list[str]] = elsewhere(progress) if cores else nullcontext([])
    with listening as refused:
        try:
            predictor.fit(
                train,
                tuning_data=valid,
                hyperparameters=models,
                feature_generator=IdentityFeatureGenerator() if plain else AutoMLPipelineFeatureGenerator(),
                presets=settings.presets,
                time_limit=None if settings.time_limit is None else settings.time_limit / len(PARTS[settings.riders]),
                num_bag_folds=settings.bag_folds,
                num_bag_sets=1,
                num_stack_levels=settings.stack_levels,
                use_bag_holdout=bagged,
                auto_stack=False,
                dynamic_stacking=False,
                refit_full=False,
                save_bag_folds=True,
                num_gpus=0,
                raise_on_model_failure=strict,
                **_cores(settings.threads, cores),
                callbacks=[progress],
            )
        except RuntimeError as error:
            if "No models were trained" not in str(error) or (strict and not refused):
                raise
            if not strict:
                limit = f"bikes.time_limit = {settings.time_limit} s"
                remedy = "increase it or set null"
                raise InputError(f"params.yaml: {limit} is too short for any model: {remedy}") from error
    trained = sum(not name.startswith("WeightedEnsemble") for name in predictor.model_names())
    if strict and trained < (wanted := sum(map(len, models.values())) * (1 + settings.stack_levels)):
        why = refused[0] if refused else "a worker ran out of memory"
        raise InputError(f"the cluster trained {trained} of {wanted} models of {part}: {why}")
    best, table = predictor.model_best, predictor.leaderboard()
    seconds = table.set_index("model")[["fit_time", "pred_time_val"]].set_axis(["fit", "predict"], axis=1)
    print(f"{part}: {best} is the best model; retraining it on all training days", flush=True)
    alone = {"num_cpus": settings.threads, "num_gpus": 0, "fit_strategy": "sequential"}
    final = predictor.refit_full(best, set_best_to_refit_full=True, **alone)[best]
    predictor.save_space()
    predicted = np.asarray(predictor.predict(valid, model=best, as_pandas=False))
    return Fitted(best, final, predicted, seconds.round(3).to_dict("index"))


def _cores(threads: int, cores: int | None) -> dict[str, Any]:
    """Return AutoGluon's resource settings: models in sequence, or in parallel on a cluster, each with the same threads."""
    if cores is None:
        folds = {"fold_fitting_strategy": "sequential_local"}
        return {"num_cpus": threads, "fit_strategy": "sequential", "ag_args_ensemble": folds}
    return {
        "num_cpus": cores,
        "ag_args_fit": {"num_cpus": threads, "num_gpus": 0},
        "fit_strategy": "parallel",
        "ag_args_ensemble": {"fold_fitting_strategy": "parallel_local"},  # runs on the cluster that Ray is connected to
    }


def main() -> None:
    settings = config.load("bikes", Train)
    files.require(FEATURES, "featurize@bikes")
    train, valid = (pd.read_parquet(FEATURES / f"{part}.parquet") for part in ("train", "valid"))
    about = files.read_json(FEATURES / "about.json")
    check_together(about["features"], settings)
    if settings.bag_folds:
        hours = pd.read_parquet(FEATURES / "hours.parquet", columns=["datetime", "part"])
        days = hours.loc[hours["part"] == "train", "datetime"].dt.day.reset_index(drop=True)
        train[BLOCK] = day_blocks(days, settings.bag_folds)
    begin = time.perf_counter()
    clock: dict[str, Any] = {"threads": settings.threads}
    largest = {part: ROOM * float(train[part].max()) for part in PARTS[settings.riders]}
    fitted, validated = {}, np.zeros(len(valid))
    with (
        files.new_folder(TRAINED) as folder,
        dispatch.shared(folder, settings.threads, "AG_CPU_COUNT", AG_FORCE_PARALLEL="True") as cores,
        lean(),
    ):
        for part in PARTS[settings.riders]:
            learnt, weighed = train.drop(columns=COUNTS), valid.drop(columns=COUNTS)
            for table, riders in ((learnt, train[part]), (weighed, valid[part])):
                table[TARGET] = np.log1p(riders) if settings.target == "log1p" else riders.astype(float)
            started = time.perf_counter()
            fitted[part] = fit(learnt, weighed, settings, part, folder / part, cores)
            validated += limited(fitted[part].predicted, settings.target, largest[part])
            clock[f"{part}_seconds"] = round(time.perf_counter() - started, 1)
        normalise(folder)
        about = {
            "riders": settings.riders,
            "target": settings.target,
            "validated": {part: one.best for part, one in fitted.items()},
            "final": {part: one.final for part, one in fitted.items()},
            "largest": largest,
            "intervals": intervals(validated, valid["count"].to_numpy()),
            "time_limit": settings.time_limit,
        }
        files.write_json(folder / "forecaster.json", about)
        files.write_json(folder / SETTINGS, settings.model_dump())
    clock["seconds"] = round(time.perf_counter() - begin, 1)
    clock["models"] = {part: one.models for part, one in fitted.items()}
    clocks.write("train@bikes", TRAINED, clock)


if __name__ == "__main__":
    run(main)
