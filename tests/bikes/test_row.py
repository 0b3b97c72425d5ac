"""bikes: the stages from training to the served export, run for real on two months with a few rounds."""

import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT, Run
from small_bikes import run_row, set_parameters

from stages.bikes import deploy, evaluate, export, featurize, inference, model, plot, prepare, train
from stages.bikes.config import Train
from stages.bikes.hours.columns import FORMAT
from stages.bikes.learning import models
from stages.common import clocks, config
from stages.common.errors import InputError
from stages.common.models import bundle
from stages.experiments.records import runs
from stages.experiments.records.revisions import Revision


@pytest.fixture
def project(done: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(done)
    return done


def test_metrics_are_flat_and_free_of_clocks_and_the_coverage_is_that_of_the_test_hours(project: Path) -> None:
    metrics = json.loads(evaluate.METRICS.read_text())
    assert list(metrics) == ["data", "rmsle_valid", "rmsle_test"]
    details = json.loads(evaluate.DETAILS.read_text())
    assert list(details) == ["best_model", "rmse_valid", "rmsle_valid_alone", "coverage_test"]
    assert metrics["data"] == "sample"
    assert metrics["rmsle_valid"] < 0.6
    assert "seconds" in Revision().training("bikes")
    test = pd.read_csv(evaluate.EVALUATION / "test.csv")
    assert (test["low"] >= 0).all()
    assert test["predicted"].between(test["low"], test["high"]).all()
    assert details["coverage_test"] == round(test["actual"].between(test["low"], test["high"]).mean(), 6)


def test_the_submission_has_kaggles_form(project: Path) -> None:
    assert evaluate.SUBMISSION.read_text().startswith("datetime,count\n")
    submission = pd.read_csv(evaluate.SUBMISSION)
    hours = pd.read_parquet(prepare.RAW / "test.parquet")["datetime"]
    assert submission["datetime"].tolist() == hours.dt.strftime("%Y-%m-%d %H:%M:%S").tolist()
    assert (submission["count"] >= 0).all()


def test_the_leaderboard_has_every_model_and_no_clock_and_the_importance_every_feature(project: Path) -> None:
    table = pd.read_csv(evaluate.EVALUATION / "leaderboard.csv")
    models = {"Linear", "Residual", "LightGBM", "XGBoost", "CatBoost", "Sequence", "WeightedEnsemble_L2"}
    assert set(table["model"]) == models
    assert not [column for column in table if "time" in str(column)]
    assert table["rmsle_valid"].is_monotonic_increasing
    shown = runs.leaderboard(Revision(), "bikes")
    assert shown
    assert all(row.keys() >= {"stack_level", "fit_seconds", "predict_seconds"} for row in shown)
    ensemble = table["model"].str.startswith("WeightedEnsemble")
    assert table["stack_level"].tolist() == np.where(ensemble, 2, 1).tolist()
    seconds = Revision().training("bikes")["models"]
    assert seconds.keys() == {"casual", "registered"}
    for fitted in seconds.values():
        assert fitted.keys() == models
        assert all(one["fit"] > 0 and one["predict"] > 0 for one in fitted.values())
    assert json.loads(evaluate.METRICS.read_text())["rmsle_valid"] in set(table["rmsle_valid"])
    importance = pd.read_csv(evaluate.EVALUATION / "importance.csv")
    assert "hour" in importance["feature"].iloc[0], "the hour matters most"
    assert len(importance) == pd.read_parquet(featurize.FEATURES / "test.parquet").shape[1]


def test_validated_models_did_not_see_the_validation_days_and_final_ones_did(project: Path) -> None:
    forecaster = model.load()
    valid = pd.read_parquet(featurize.FEATURES / "valid.parquet")
    actual = valid["count"].to_numpy()
    validated = evaluate.rmsle(actual, forecaster.predict(valid, forecaster.validated))
    assert evaluate.rmsle(actual, forecaster.predict(valid)) < validated


def test_intervals_hold_80_percent_of_other_hours_at_each_level(project: Path) -> None:
    random = np.random.default_rng(0)

    def hours(size: int) -> tuple[np.ndarray, np.ndarray]:
        """Forecasts, and riders whose spread is larger at night, as in the data."""
        level = random.uniform(1, 6, size)
        riders = np.expm1(level + random.normal(0, 1 / level)).clip(0)
        return np.expm1(level), riders

    forecaster = replace(model.load(), intervals=model.intervals(*hours(4000)))
    riders, actual = hours(20_000)
    low, high = forecaster.interval(riders)
    within = (low <= actual) & (actual <= high)
    assert abs(within.mean() - 0.8) < 0.02
    for one in np.array_split(np.argsort(riders), 4):
        assert abs(within[one].mean() - 0.8) < 0.05
    few = model.intervals(np.array([10.0, 20.0]), np.array([12.0, 15.0]))
    assert [len(values) for values in few.values()] == [1, 1, 1]
    assert few["low"] < few["high"]


@pytest.fixture(scope="module")
def served(done: Path, tmp_path_factory: pytest.TempPathFactory) -> inference.Model:
    """The exported model, with the recurrent network, which reads whole days, in its ensemble."""
    folder = tmp_path_factory.mktemp("served")
    bundle.unpack(done / export.EXPORT / "model.tar.gz", folder)
    return inference.model_fn(str(folder))


def ask(served: inference.Model, rows: pd.DataFrame) -> np.ndarray:
    hours = inference.input_fn(rows.to_csv(index=False, date_format=FORMAT), "text/csv")
    return inference.predict_fn(hours, served)["count"].to_numpy()


def day_of(date: str, **values: float) -> pd.DataFrame:
    """A day of the last winter of the data's town: cold at night, rain in the afternoon."""
    when = pd.date_range(date, periods=24, freq="h")
    temp = 8 + 5 * np.sin((when.hour - 9) / 24 * 2 * np.pi)
    weather = np.where(when.hour.isin([14, 15, 16]), 3, 1)
    working = (when.weekday < 5).astype(int)
    season = when.quarter  # of days before the 19th
    day = {"season": season, "holiday": 0, "workingday": working, "weather": weather, "temp": temp, "atemp": temp + 2}
    return pd.DataFrame({"datetime": when, **day, "humidity": 55.0, "windspeed": 11.0014} | values)


def test_an_answer_does_not_depend_on_what_else_is_asked(prepared: Path, served: inference.Model) -> None:
    test = pd.read_parquet(prepared / prepare.RAW / "test.parquet")
    together = ask(served, test)
    for rows in ([5], [300, 7, 7]):
        np.testing.assert_allclose(ask(served, test.iloc[rows]), together[rows], rtol=1e-9)
    warmer = ask(served, test.iloc[[5]].assign(temp=12.0, atemp=13.0))
    assert warmer != together[5]


@pytest.mark.parametrize("date", ["2012-03-01", "2012-03-02", "2013-02-12", "2012-01-23"])
def test_an_hour_of_a_new_day_is_answered_as_with_its_whole_day(served: inference.Model, date: str) -> None:
    """Also a day of the record whose weather is changed. More hours, fewer or another order change nothing."""
    day = day_of(date)
    whole = ask(served, day)
    parts = [[17], range(7, 19), range(0, 24, 3), [0], [23], range(23, -1, -1), range(12)]
    for part in parts:
        np.testing.assert_allclose(ask(served, day.iloc[list(part)]), whole[list(part)], rtol=1e-9)
    week = pd.concat([day_of(f"{one:%Y-%m-%d}", weather=2) for one in pd.date_range("2012-03-03", periods=7)])
    np.testing.assert_allclose(ask(served, pd.concat([week, day]))[-24:], whole, rtol=1e-9)


def test_no_request_makes_a_number_that_nobody_could_rent(prepared: Path, served: inference.Model) -> None:
    largest = pd.read_parquet(prepared / prepare.RAW / "train.parquet")["count"].max()
    random = np.random.default_rng(0)
    size = 500
    hours = pd.date_range("2000-01-01", "2099-12-31 23:00", freq="h")
    when = pd.DatetimeIndex(random.choice(hours, size, replace=False))
    temp = random.uniform(-20, 25, size)
    holiday = random.integers(0, 1, size, endpoint=True)
    wild = pd.DataFrame(
        {
            "datetime": when,
            "season": random.integers(1, 4, size, endpoint=True),
            "holiday": holiday,
            "workingday": ((when.weekday < 5) & (holiday == 0)).astype(int),
            "weather": random.integers(1, 4, size, endpoint=True),
            "temp": temp,
            "atemp": temp + random.uniform(-3, 7, size),
            "humidity": random.uniform(1.01, 100, size),
            "windspeed": random.uniform(0, 250, size),
        }
    )
    riders = ask(served, wild)
    assert ((riders >= 0) & (riders <= model.ROOM * largest)).all()
    now, later = ask(served, day_of("2012-03-13")), ask(served, day_of("2050-03-15"))  # a Tuesday each
    np.testing.assert_allclose(later, now, rtol=0.15)


VERBOSE = "application/json; verbose=true"


def answer(served: inference.Model, rows: pd.DataFrame, accept: str) -> Any:
    text = inference.output_fn(inference.predict_fn(rows, served), accept)
    return text if accept == "text/csv" else json.loads(text)


def test_an_hour_beyond_the_training_data_is_answered_with_warnings(served: inference.Model) -> None:
    usual, odd = day_of("2012-02-14").iloc[[0]], day_of("2050-02-14", windspeed=200.0, atemp=9.0).iloc[[12, 13]]
    rows = pd.concat([usual, odd], ignore_index=True)
    plain, verbose = (answer(served, rows, kind) for kind in ("application/json", VERBOSE))
    assert set(plain[0]) == {"datetime", "count", "low", "high"}
    assert all(0 <= one["low"] < one["count"] < one["high"] for one in plain)
    later, windy = plain[1]["warnings"]
    assert later.startswith("the hour is after all known hours (to 2012-02-29 23:00:00)")
    assert re.fullmatch(r"windspeed is outside the training data's 0 to \d+\.?\d* km/h: .*", windy)
    assert verbose["predictions"] == plain
    assert verbose["warnings"][1] == f"{windy} (2 hours, the first in the request 2050-02-14 12:00:00)"
    table = pd.read_csv(io.StringIO(answer(served, rows, "text/csv")))
    assert list(table) == ["datetime", "count", "warnings"]
    assert table["warnings"].isna().tolist() == [True, False, False]
    assert table["warnings"][1] == f"{later}; {windy}"

    assert answer(served, usual, "text/csv").startswith("datetime,count\n")
    assert answer(served, usual, VERBOSE)["warnings"] == []
    # Hours of other months than the data have the range of all.
    summer = day_of("2012-07-10").iloc[[5]].reset_index(drop=True)
    assert not [one for one in answer(served, summer, VERBOSE)["warnings"] if "temp" in one]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temp": 41.0, "atemp": 42.0}, "row 1, column temp: found 41 on 2012-02-14, expected .* °C at this time of year: 41 degrees Fahrenheit are 5.0 °C"),
        ({"temp": 30.0, "atemp": 31.0}, "temp is above all known hours of this time of year: is it in °C"),
        ({"temp": -20.0, "atemp": -21.0}, "temp is below all known hours of this time of year"),
        ({"temp": -40.0, "atemp": -41.0}, "row 1, column temp: found -40 on 2012-02-14, expected -.* to .* °C at this time of year"),
        ({"temp": 0.5, "atemp": 0.4}, "temp is from 0 to 1: is it in °C, not on UCI's scale"),
        ({"temp": 4.0, "atemp": 10.5}, "atemp differs from temp more than in known hours of this temperature"),
        ({"windspeed": 4.5}, r"windspeed is below all known winds, from [678][.\d]* km/h: is it in km/h, not in m/s, mph"),
        ({"holiday": 1, "workingday": 0}, "holiday is 1 on a day that is no US federal holiday: it is answered as a day without work"),
        ({"season": 3}, "season is not that of the date, .*: it is answered by its date"),
        ({"datetime": pd.Timestamp("2013-07-04 05:00:00"), "season": 3, "temp": 15.0, "atemp": 17.0}, "holiday is 0 on Independence Day: it is answered for the holiday"),
    ],
)  # fmt: skip
def test_units_that_do_not_fit_the_time_of_year_are_named(
    served: inference.Model, values: dict[str, float], message: str
) -> None:
    rows = day_of("2012-02-14", **values).iloc[[5]].reset_index(drop=True)
    try:
        words = answer(served, rows, VERBOSE)["warnings"]
    except ValueError as error:
        words = [str(error)]
    assert any(re.match(message, one) for one in words), words


def test_values_outside_the_training_range_are_answered_as_the_nearest_in_it(served: inference.Model) -> None:
    """As the warning says: for all that depends on them. Also for an hour of the record whose weather is changed."""
    for date in ("2012-02-14", "2013-02-12"):
        rows = day_of(date, humidity=50.0)
        for name in ("temp", "atemp", "humidity", "windspeed"):
            low, high = served.plausible.trained[name]
            for edge, beyond in ((low, low - 2), (high, high + 9)):
                at, out = (inference.predict_fn(rows.assign(**{name: one}), served)["count"] for one in (edge, beyond))
                pd.testing.assert_series_equal(at, out)


def test_a_holiday_that_the_calendar_does_not_know_changes_the_answer(served: inference.Model) -> None:
    day = day_of("2013-02-12")
    working, free = ask(served, day), ask(served, day.assign(holiday=1, workingday=0))
    assert free[8] < 0.8 * working[8]
    assert ask(served, day_of("2013-07-04"))[8] < 0.8 * ask(served, day_of("2013-07-02"))[8]


def test_the_export_is_served_and_answers_as_evaluate_did(project: Path) -> None:
    deploy.main()
    report = json.loads(deploy.REPORT.read_text())
    assert report["rmsle_test"] == json.loads(evaluate.METRICS.read_text())["rmsle_test"]
    assert {"p50_ms", "p95_ms", "p99_ms", "rows_per_second"} <= set(Revision().latency("bikes")["one"])


def test_other_answers_than_evaluates_are_refused() -> None:
    expected = np.array([100.0, 0.2])
    assert deploy.compare(expected * (1 + 1e-6), expected) < 1e-4
    with pytest.raises(InputError, match=r"test hour 1: found 0\.3 riders, expected evaluate's 0\.2"):
        deploy.compare(np.array([100.0, 0.3]), expected)
    with pytest.raises(InputError, match="1 answers, expected 2"):
        deploy.compare(expected[:1], expected)
    with pytest.raises(InputError):
        deploy.compare(np.array([100.0, np.nan]), expected)


def test_every_plot_is_drawn(project: Path) -> None:
    plot.main()
    assert len(list(plot.PLOTS.glob("*.png"))) == 7


def test_a_search_of_the_portfolio_tries_autogluons_families_the_first_trials_first() -> None:
    parameters = yaml.safe_load((ROOT / "params.yaml").read_text())
    parameters["bikes"] |= {"models": ["portfolio"]}
    parameters["bikes"]["search"]["trials"] = 2
    tried = []
    for seed in (0, 1):
        parameters["bikes"]["seed"] = seed
        tried.append(models.hyperparameters(config.load("bikes", Train, parameters)))
    first, other = tried
    assert first.keys() >= {"GBM", "XGB", "CAT", "RF", "XT", "KNN", "NN_TORCH"}
    assert [one["ag_args"]["name_suffix"] for one in first["GBM"]] == ["_T1", "_T2", "XT_T1", "XT_T2"]
    assert [one["ag_args"]["priority"] for one in first["GBM"]] == [-1, -2, -1, -2]
    assert first["RF"] == [{"random_state": 0}]  # AutoGluon has no ranges for it
    assert other["RF"] == [{"random_state": 1}]
    assert first["XGB"][0] | {"seed": 1} == other["XGB"][0]  # the default
    assert first["XGB"][1]["learning_rate"] not in (first["XGB"][0]["learning_rate"], other["XGB"][1]["learning_rate"])


def test_what_a_search_varied_is_kept_with_its_score_and_drawn() -> None:
    names = [f"LightGBM_T{trial}_BAG_L1" for trial in (10, 2, 3, 4)]
    settings = {
        name: {"learning_rate": 0.1 * place, "num_leaves": 8 - place % 2, "layers": [8] * (place // 2), "seed": 0}
        for place, name in enumerate(names)
    }
    board = pd.DataFrame({"model": [*names, "WeightedEnsemble_L2"], "rmsle_valid": [0.4, 0.35, 0.3, 0.25, 0.2]})
    both = {"count": settings | {"WeightedEnsemble_L2": {"seed": 0}}}
    found = evaluate.searched(board, both)
    assert found["parameter"].unique().tolist() == ["learning_rate", "num_leaves", "layers"]
    assert found["trial"].tolist()[:4] == [2, 3, 4, 10]
    assert found.iloc[3].tolist() == ["count", "LightGBM_BAG_L1", 10, "learning_rate", "0.0", 0.4]
    drawn = plot.hyperparameters(found).axes
    assert next(axis.get_xlabel() for axis in drawn if axis.axison) == "learning_rate"  # the score follows it alone
    assert evaluate.searched(board.tail(3), both).empty


BAGGED = {"models": ["xgboost", "catboost"], "bag_folds": 2, "riders": "together"}
SEARCHED = {"models": ["linear"], "search": {"trials": 2, "scheduler": "local", "searcher": "random"}}


@pytest.mark.parametrize(
    ("features", "bikes"),
    [
        pytest.param("full", {}, marks=pytest.mark.long, id="default"),
        pytest.param("raw", {"models": ["lightgbm"], "riders": "together", "target": "counts"}, id="raw"),
        pytest.param("calendar", BAGGED, marks=pytest.mark.long, id="bagged"),
        pytest.param("full", SEARCHED, marks=pytest.mark.long, id="search"),
    ],
)
def test_the_same_inputs_give_the_same_bytes(
    untrained: Path, features: str, bikes: dict[str, Any], python: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in another folder, in a process of its own whose strings have other hashes."""
    other = untrained.with_name("another folder")
    shutil.copytree(untrained, other)
    run_row(untrained, features, **bikes)
    export.main()
    monkeypatch.chdir(other)
    set_parameters(other, features, **bikes)
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    verbs = ("featurize", "train", "evaluate", "export")
    done = python("-c", f"from stages.bikes import {', '.join(verbs)}\nfor verb in ({', '.join(verbs)}): verb.main()")
    assert done.returncode == 0, done.stderr
    first, second = contents(untrained), contents(other)
    assert [path for path in first if first[path] != second.get(path)] == []
    assert first.keys() == second.keys()


def contents(root: Path) -> dict[str, bytes]:
    """All files that the stages left below ``root``, but clock readings."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for folder in ("data", "models", "reports")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file() and root / clocks.FOLDER not in path.parents
    }


def test_categories_are_the_same_in_training_and_in_the_export(untrained: Path) -> None:
    run_row(untrained, "calendar", models=["catboost", "lightgbm"], bag_folds=2, riders="together")
    assert pd.read_parquet(featurize.FEATURES / "train.parquet")["season"].dtype == "category"
    export.main()  # which compares its answers with evaluate's


def test_a_time_limit_is_said_and_too_short_a_one_refused(untrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_row(untrained, models=["linear"], time_limit=600)
    assert json.loads(evaluate.DETAILS.read_text())["time_limit"] == 600

    def nothing_in_time(*_: object, **__: object) -> None:
        raise RuntimeError("No models were trained successfully during fit().")

    monkeypatch.setattr("autogluon.tabular.TabularPredictor.fit", nothing_in_time)
    with pytest.raises(InputError, match=r"bikes\.time_limit = 1 s is too short"):
        run_row(untrained, models=["linear"], time_limit=1)


def test_a_bag_fold_is_a_block_of_days(untrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, pd.DataFrame] = {}

    def fit(rows: pd.DataFrame, valid: pd.DataFrame, *_: object) -> train.Fitted:
        seen["train"] = rows
        return train.Fitted("best", "final", np.ones(len(valid)), {})

    monkeypatch.setattr(train, "fit", fit)
    set_parameters(untrained, bag_folds=3, riders="together")
    featurize.main()
    train.main()
    hours = pd.read_parquet(featurize.FEATURES / "hours.parquet")
    days = hours.loc[hours["part"] == "train", "datetime"].dt.day.to_numpy()
    assert (seen["train"][train.BLOCK].to_numpy() == (days - 1) * 3 // days.max()).all()


@pytest.mark.long
def test_autogluons_own_models_bagged_stacked_and_searched(untrained: Path) -> None:
    """The way of the published variants; how far they come is the clock's to say."""
    together = {"riders": "together", "target": "counts", "bag_folds": 2, "time_limit": 40}
    metrics = run_row(untrained, "raw", models=["portfolio"], presets="medium_quality", stack_levels=1, **together)
    assert metrics["rmsle_valid"] > 0
    search = {"trials": 3, "scheduler": "local", "searcher": "random"}
    own = {"models": ["lightgbm", "xgboost", "portfolio"], "presets": "best_quality"}
    run_row(untrained, "calendar", search=search, **own, **together)
    assert json.loads(evaluate.DETAILS.read_text())["time_limit"] == 40
    assert "num_leaves" in (evaluate.EVALUATION / "settings.json").read_text()


def test_models_that_need_more_than_the_features_there_are_refused(untrained: Path) -> None:
    set_parameters(untrained, "raw")
    featurize.main()
    with pytest.raises(InputError, match="linear, residual, sequence must have full"):
        train.main()
    assert not model.TRAINED.exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"models": []}, r"bikes\.models = \[\] is not allowed: expected .*at least 1"),
        ({"models": ["linear", "linear"]}, "each model only once"),
        ({"models": ["lstm"]}, r"bikes\.models\.0 = 'lstm' is not allowed: expected 'linear'"),
        ({"bag_folds": 1}, r"bikes\.bag_folds = 1 is not allowed: expected 0 or at least 2"),
        ({"time_limit": 0}, r"bikes\.time_limit = 0"),
        ({"sead": 1}, "bikes.sead is not a parameter .did you mean seed"),
    ],
)
def test_bad_parameters_are_named(values: dict[str, Any], message: str) -> None:
    parameters = yaml.safe_load((ROOT / "params.yaml").read_text())
    parameters["bikes"] |= values
    with pytest.raises(InputError, match=message):
        config.load("bikes", Train, parameters)


@pytest.mark.long
def test_the_real_data_is_forecast_well(real_data: Path, workspace: Path) -> None:
    """The default configuration. Its validation days are ordinary ones: the test hours, with Christmas among them, are harder."""
    parameters = workspace / "params.yaml"
    parameters.write_text(parameters.read_text().replace("source: sample ", f"source: {real_data} "))
    for stage in (prepare, featurize, train, evaluate, plot, export, deploy):
        stage.main()
    assert json.loads(evaluate.METRICS.read_text())["rmsle_valid"] < 0.275
    assert len(pd.read_csv(evaluate.SUBMISSION)) == 6493
