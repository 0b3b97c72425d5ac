"""List recipes, or run one or all of a project as DVC experiments. The working tree does not change.

python -m stages.experiments.run                           list all recipes
python -m stages.experiments.run mnist-adam                run one, seed after seed
python -m stages.experiments.run --all mnist --jobs 2      run all of a project, two at a time
python -m stages.experiments.run mnist-sweep --jobs 2      run a sweep; its best trial gets the sweep's name
python -m stages.experiments.run -S mnist.optimizer=sgd    run a variant here, as `dvc exp run` does

Experiments already done with the working tree's code and parameters are skipped. To run failed ones again, repeat
the command. With MLFLOW_TRACKING_URI in the environment, finished experiments are logged to that MLflow server, too.
"""

import argparse
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from dvc.repo import Repo

from stages.check import check_region, parameters_model
from stages.common import config
from stages.common.errors import InputError
from stages.common.program import requires, run
from stages.experiments.records import recipes
from stages.experiments.records.done import is_done, known
from stages.experiments.records.recipes import Experiment
from stages.experiments.running import clones, tracking
from stages.experiments.running.stopping import stop_on_signals


def show() -> None:
    for name, recipe in recipes.read().items():
        seeds = f", {len(recipe.seeds)} seeds" if len(recipe.seeds) > 1 else ""
        trials = f", a sweep of {recipe.sweep.trials} trials" if recipe.sweep else ""
        print(f"{name:30} {recipe.description}{seeds}{trials}")
    print(
        "\nRun one: make recipe NAME=...   all of a project: make recipes RUN=mnist   with other data: SET=data.source=../data"
    )


def one_by_one(project: str | None) -> list[str]:
    """Return the names of a project's recipes, without sweeps."""
    own = {name: recipe for name, recipe in recipes.read().items() if recipe.project == project}
    if sweeps := [name for name, recipe in own.items() if recipe.sweep]:
        print(f"left out the sweeps {', '.join(sweeps)}: run each with make recipe NAME=...")
    return [name for name in own if name not in sweeps]


def work(experiments: list[Experiment], folder: Path, jobs: int | None) -> None:
    """Run the experiments in copies below ``folder`` and print how each ends. Raises InputError with the names of failed ones."""
    clones.freeze(folder)
    count = clones.room(experiments, jobs)
    print(
        f"{len(experiments)} experiment{'s' * (len(experiments) > 1)}, {count} at a time. Ctrl-C stops them; the same command resumes.",
        flush=True,
    )
    root, show, begin, failed = Path.cwd(), count == 1, time.monotonic(), []

    def run_one(experiment: Experiment) -> bool:
        project = experiment.recipe.project
        targets = [f"deploy@{project}", f"plot@{project}"]
        copy = clones.record(root, folder.absolute(), experiment, targets, show)
        if copy:
            shutil.rmtree(copy, ignore_errors=True)
        return copy is not None

    with ThreadPoolExecutor(count) as pool:
        running = {pool.submit(run_one, experiment): experiment for experiment in experiments}
        try:
            for number, future in enumerate(as_completed(running), 1):
                name, log = running[future].name, clones.log(folder, running[future])
                why = "" if future.result() else ": see above" if show else f": {clones.reason(log)} (full log: {log})"
                failed += [name] if why else []
                minutes, seconds = divmod(int(time.monotonic() - begin), 60)
                outcome = f"failed{why}" if why else "done"
                print(f"{minutes:3}:{seconds:02} {number}/{len(experiments)} {name} {outcome}", flush=True)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            clones.stop()
            raise
    if failed:
        raise InputError(f"{', '.join(failed)} failed, see above: fix the error, then run the same command again")


def variant(settings: list[str]) -> None:
    """Run `dvc exp run -S ...` in the working tree. Raises InputError before anything changes if it would be invalid.

    DVC would answer a misspelt name with Hydra's advice to add it to params.yaml.
    """
    check_region(config.check("", parameters_model(), recipes.applied(config.read(), recipes.changes(settings))))
    command = [sys.executable, "-m", "stages.experiments.running.quick_dvc", "exp", "run"]
    for setting in settings:
        command += ["-S", setting]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # stages run with this Python, too
    os.execve(sys.executable, command, os.environ | {"PATH": path})  # noqa: S606 (no shell is wanted)


def main(recipe: str | None, all_of: str | None, settings: list[str], jobs: int | None) -> None:
    if recipe is None and all_of is None:
        variant(settings) if settings else show()
        return
    if jobs is not None and jobs < 1:
        raise InputError(f"--jobs {jobs} is not allowed: expected 1 or more")
    client = tracking.server()
    if recipe and recipes.named(recipe).sweep:
        with requires("ray", f"{recipe}, a sweep,"):
            from stages.experiments.sweeps import sweep  # imports Ray

        sweep.run(recipe, recipes.changes(settings), jobs)
        if client:
            with Repo() as repo:
                own = [name for name in known(repo) if name == recipe or name.startswith(f"{recipe}-t")]
            tracking.log(client, recipes.named(recipe).project, own)
        return
    names = [recipe] if recipe else one_by_one(all_of)
    if not names:
        projects = dict.fromkeys(entry.project for entry in recipes.read().values())
        raise InputError(f"{all_of!r} has no recipes: expected one of {', '.join(projects)}")
    experiments = [experiment for name in names for experiment in recipes.experiments(name, recipes.changes(settings))]
    with Repo() as repo:
        finished = [experiment.name for experiment in experiments if is_done(repo, experiment)]
        left = [experiment for experiment in experiments if experiment.name not in finished]
        if stale := [experiment.name for experiment in left if experiment.name in known(repo)]:
            repo.experiments.remove(stale)  # of other code or settings
    if finished:
        print(f"already done: {', '.join(finished)}")
    project = experiments[0].recipe.project
    try:
        if left:
            stop_on_signals()
            with clones.alone(recipe or f"all-{all_of}") as folder:
                work(left, folder, jobs)
    finally:
        if client:
            tracking.log(client, project, [experiment.name for experiment in experiments])
    print(
        f"Next: make compare PROJECT={project}, make experiments PROJECT={project}, dvc exp apply {experiments[0].name}"
    )


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", nargs="?", help="the recipe to run (default: list all)")
    parser.add_argument("--all", dest="all_of", metavar="PROJECT", help="all recipes of a project")
    recipes.add_settings(parser)
    parser.add_argument("--jobs", type=int, help="how many at a time (default: as cores and memory allow)")


if __name__ == "__main__":
    run(main, arguments)
