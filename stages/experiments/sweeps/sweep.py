"""Run a recipe with a sweep: trials with settings sampled from its ranges. The better ones train for longer (ASHA).

`make recipe NAME=mnist-sweep` runs it, or resumes a run that was stopped.

Each trial on each rung is a separate DVC experiment, such as `mnist-sweep-t3-e9`. It is trained from the start for that
rung's epochs, with the learning rate schedule of that length. To stop a long training early and resume it later would
take fewer epochs, but its recorded parameters would not reproduce its score. Validation scores decide, never the test
set.
"""

import os
import re
import time
from functools import partial
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from rich.table import Table

from stages import projects
from stages.check import parameters_model
from stages.common import config
from stages.common.errors import InputError
from stages.engine.config import Engine
from stages.engine.ray.cluster import connected
from stages.engine.ray.libraries import check_seen
from stages.experiments.records import recipes
from stages.experiments.records.done import is_done, is_of, known
from stages.experiments.records.git import git
from stages.experiments.records.revisions import Revision
from stages.experiments.running import clones
from stages.experiments.sweeps import asha
from stages.experiments.sweeps.trials import Plan, Result, run_trial
from stages.experiments.table import console, titled


def run(name: str, changes: dict[str, Any], jobs: int | None) -> None:
    """Run the rest of the sweep ``name``, and record its best trial under that name."""
    plan = planned(name, changes)
    with clones.alone(name) as folder:
        results = recorded(plan)
        rungs = asha.Rungs(plan.sweep, results)
        if rungs.left:
            clones.freeze(folder)
            results += run_trials(plan, rungs, len(results), folder, jobs)
        best = best_of(plan, results, folder)
        promote(plan, best, folder)
    console().print(table(plan, results, best))
    project = plan.recipe.project
    print(f"Next: dvc exp apply {name}, make compare PROJECT={project}, make experiments PROJECT={project}")


def planned(name: str, changes: dict[str, Any]) -> Plan:
    """Sample the sweep's trials. Raises InputError if the settings of one are not allowed."""
    recipe = recipes.named(name)
    assert recipe.sweep
    epochs = {name: table for name in projects.names() if (table := projects.about(name).tables.get("history"))}
    if recipe.project not in epochs:
        raise InputError(
            f"{name}: {recipe.project} is not trained in epochs: expected one of {', '.join(epochs)} (for bikes use bikes.search)"
        )
    parameters = config.read()
    own = recipes.applied(parameters, recipe.set | changes)[recipe.project]
    drawn = recipe.sweep.settings(recipe.seeds[0])
    plan = Plan(name, recipe, recipe.sweep, drawn, changes, epochs[recipe.project], own["keep"])
    for trial in range(recipe.sweep.trials):
        try:
            config.check("", parameters_model(), recipes.applied(parameters, plan.experiment(trial).settings))
        except InputError as error:
            raise InputError(f"{name}: trial {trial} can't run: {error}") from None
    return plan


def recorded(plan: Plan) -> list[Result]:
    """Return the results of this code and these settings, in commit order. Stale experiments are removed."""
    with Repo() as repo:
        found = known(repo)
        results: dict[str, Result] = {}
        for trial in range(plan.sweep.trials):
            for epochs in plan.sweep.epochs:
                experiment = plan.experiment(trial, epochs)
                revision = Revision(found[experiment.name]) if experiment.name in found else None
                if revision is None or not is_of(revision, experiment):
                    break
                rows = revision.table(plan.history)
                if not rows:  # the file is not in DVC's cache
                    break
                results[experiment.name] = Result(trial, epochs, plan.score(rows))
        own = re.compile(rf"{re.escape(plan.name)}-t\d+-e\d+")
        if stale := [name for name in found if own.fullmatch(name) and name not in results]:
            repo.experiments.remove(stale)
    return sorted(results.values(), key=lambda one: _time(found[plan.experiment(one.trial, one.epochs).name]))


def _time(revision: str) -> int:
    return int(git("log", "-1", "--format=%ct", revision))


def run_trials(plan: Plan, rungs: asha.Rungs, done: int, folder: Path, jobs: int | None) -> list[Result]:
    """Run the unfinished trials. Returns their results in the order of arrival."""
    experiments = [plan.experiment(trial, epochs[0]) for trial, epochs in rungs.left.items()]
    engine = config.load("engine", Engine, recipes.applied(config.read(), experiments[0].settings))
    threads = experiments[0].threads(config.read())
    here = os.cpu_count() or 1
    if engine.kind == "ray":
        cores = engine.workers * engine.cpus_per_worker
    else:
        cores = threads or (engine.cpus_per_worker if engine.address else here)
    asked: dict[str, float] = {"cpu": cores, "gpu": engine.gpus_per_worker}
    held = dict.fromkeys(asked, 0.0) if engine.kind == "ray" else asked  # Ray Train asks for them itself
    at_a_time = 0 if engine.address else clones.room(experiments, jobs or max(1, here // cores))
    results: list[Result] = []
    begin = time.monotonic()

    def on_result(result: Result, continues: bool) -> None:
        if result.score is not None:
            results.append(result)
        minutes, seconds = divmod(int(time.monotonic() - begin), 60)
        name = plan.experiment(result.trial, result.epochs).name
        found = f"failed: {result.reason}" if result.reason else f"{plan.sweep.score} {result.score:.4f}"
        outcome = ", continues" if continues else ""
        own = plan.drawn[result.trial].items()
        settings = ", ".join(f"{key.removeprefix(f'{plan.recipe.project}.')}={value}" for key, value in own)
        print(f"{minutes:3}:{seconds:02} {name} {found}{outcome} ({settings})", flush=True)

    with connected(engine.model_copy(update={"workers": at_a_time, "cpus_per_worker": cores})):
        if engine.address:
            check_seen(folder, engine.timeout)  # all nodes need this folder with the trials' copies
            room = asha.room_on_cluster(engine, asked)
            at_a_time = min(jobs or room, room, len(experiments))
        left = f", {done} runs are already done" if done else ""
        print(
            f"{plan.name}: {plan.sweep.trials} trials of {', '.join(map(str, plan.sweep.epochs))} epochs{left}; {at_a_time} at a time"
        )
        print("Ctrl-C stops the sweep; the same command resumes it.", flush=True)
        rungs.run_trials(partial(run_trial, plan, Path.cwd(), folder.absolute()), on_result, at_a_time, held, folder)
    return results


def best_of(plan: Plan, results: list[Result], folder: Path) -> Result:
    """Return the best result among trials with all epochs. Raises InputError if there is none."""
    last = plan.sweep.epochs[-1]
    whole = [one for one in results if one.epochs == last and one.score is not None]
    if not whole:
        raise InputError(f"{plan.name}: no trial reached {last} epochs, see above: their logs are in {folder}/")
    return min(whole, key=lambda one: _rank(plan, one))


def _rank(plan: Plan, one: Result) -> tuple[int, float, int]:
    """Return what sorts results: those with the most epochs and best scores first."""
    score = one.score or 0.0
    return -one.epochs, score if plan.sweep.lower_is_better else -score, one.trial


def promote(plan: Plan, best: Result, folder: Path) -> None:
    """Run all stages of the project for the best trial, as the experiment with the sweep's name.

    Its training comes from DVC's cache. Raises InputError if a stage fails.
    """
    experiment, project = plan.experiment(best.trial), plan.recipe.project
    with Repo() as repo:
        if is_done(repo, experiment):
            return
    print(f"{experiment.name}: exporting the best, {plan.experiment(best.trial, best.epochs).name}", flush=True)
    clones.freeze(folder)
    if clones.record(Path.cwd(), folder, experiment, [f"deploy@{project}", f"plot@{project}"]) is None:
        log = clones.log(folder, experiment)
        raise InputError(f"{experiment.name} failed ({clones.reason(log)}): see the full log, {log}")


def table(plan: Plan, results: list[Result], best: Result) -> Table:
    """Return a table of the trials, those with the most epochs and best scores first."""
    drawn = titled(plan.name)
    for title in ("trial", *(name.removeprefix(f"{plan.recipe.project}.") for name in plan.sweep.ranges)):
        drawn.add_column(title)
    for title in ("epochs", plan.sweep.score):
        drawn.add_column(title, justify="right")
    drawn.add_column("")
    furthest = {one.trial: one for one in sorted(results, key=lambda one: one.epochs)}
    settings = [list(map(str, values.values())) for values in plan.drawn]
    for one in sorted(furthest.values(), key=lambda one: _rank(plan, one)):
        mark = "best" if one == best else ""
        drawn.add_row(f"t{one.trial}", *settings[one.trial], str(one.epochs), f"{one.score:.4f}", mark)
    for trial in sorted(set(range(plan.sweep.trials)) - furthest.keys()):
        drawn.add_row(f"t{trial}", *settings[trial], "0", "-", "failed")
    return drawn
