"""Run a sweep's trials on Ray Tune, several at a time, and choose the ones that continue to the next rung."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before the import: Ray would send usage reports
os.environ.setdefault("RAY_worker_niceness", "0")  # trials run at normal priority, not in the background
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # it prints the experiment even with verbose=0
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # DVC keeps the results
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C stops the sweep at once
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")  # a failed run has no score
from ray import tune
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from stages.common.errors import InputError
from stages.engine.config import Engine
from stages.engine.ray.cluster import running_nodes
from stages.experiments.records.ranges import Sweep
from stages.experiments.sweeps.trials import Result

Run = Callable[[int, int], Result]
"""Runs a trial on a rung in a Ray worker. Arguments: the trial's number and the rung's epochs."""
OnResult = Callable[[Result, bool], None]
"""Receives each result, and whether its trial continues."""


class Rungs:
    """A sweep's rungs, and the trials on them.

    ASHA decides about a trial when its result arrives, from the earlier results. It makes the same decisions again from
    the results ``recorded`` by earlier runs, in the order in which they ended.
    """

    def __init__(self, sweep: Sweep, recorded: list[Result]) -> None:
        self.scheduler = ASHAScheduler(
            time_attr="epochs",
            metric="score",
            mode="min" if sweep.lower_is_better else "max",
            max_t=sweep.epochs[-1],
            grace_period=sweep.epochs[0],
            reduction_factor=sweep.factor,
        )
        ended = set()
        scheduler: Any = self.scheduler
        for one in recorded:
            trial = SimpleNamespace(trial_id=f"recorded {one.trial}")  # the scheduler reads nothing else
            scheduler.on_trial_add(None, trial)
            if scheduler.on_trial_result(None, trial, one._asdict()) == TrialScheduler.STOP:
                ended.add(one.trial)
        known = {(one.trial, one.epochs) for one in recorded}
        self.left = {
            number: [epochs for epochs in sweep.epochs if (number, epochs) not in known]
            for number in range(sweep.trials)
            if number not in ended
        }
        """Unfinished trials, each with the epochs of the rungs that it has not run."""

    def run_trials(
        self, run: Run, on_result: OnResult, at_a_time: int, resources: dict[str, float], folder: Path
    ) -> None:
        """Run the unfinished trials on the Ray cluster that this process is connected to. Failed trials are not retried.

        ``resources`` are those that one trial reserves. Ray writes its files to ``folder``.
        """
        left = self.left

        def trial(config: dict[str, int]) -> None:
            for epochs in left[config["trial"]]:
                result = run(config["trial"], epochs)
                tune.report({name: value for name, value in result._asdict().items() if value is not None})
                if result.reason:
                    return

        tune.Tuner(
            tune.with_resources(trial, resources),
            param_space={"trial": tune.grid_search(list(left))},
            tune_config=tune.TuneConfig(scheduler=self.scheduler, max_concurrent_trials=at_a_time),
            run_config=tune.RunConfig(
                name="tune", storage_path=str(folder.absolute()), verbose=0, callbacks=[_Reporter(on_result, left)]
            ),
        ).fit()


class _Reporter(tune.Callback):
    def __init__(self, on_result: OnResult, left: dict[int, list[int]]) -> None:
        self.on_result = on_result
        self.rungs = {number: list(epochs) for number, epochs in left.items()}

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        if "epochs" in result:  # without it, this is the final report of an ended trial
            found = Result(result["trial"], result["epochs"], result.get("score"), result.get("reason"))
            self.rungs[found.trial].remove(found.epochs)
            self.on_result(found, not (result.get("done") or found.reason))

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        number, reason = trial.config["trial"], "its process was killed or ran out of memory"
        self.on_result(Result(number, self.rungs[number][0], None, reason), False)


def room_on_cluster(engine: Engine, resources: dict[str, float]) -> int:
    """Return how many trials fit the cluster that this process is connected to. Raises InputError if none fits."""
    nodes = running_nodes()
    names = {"cpu": "CPU", "gpu": "GPU"}
    asked = {names[name]: count for name, count in resources.items() if count}
    room = sum(min(int(node["Resources"].get(name, 0) // count) for name, count in asked.items()) for node in nodes)
    if room < 1:
        there = "; ".join(
            f"{node['NodeManagerAddress']}: "
            + ", ".join(f"{node['Resources'].get(name, 0):g} {name}" for name in names.values())
            for node in nodes
        )
        needs = ", ".join(f"{count:g} {name}" for name, count in asked.items())
        raise InputError(f"engine.address = {engine.address}: a trial needs {needs}, and no node has that ({there})")
    return room
