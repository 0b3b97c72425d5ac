"""List recipes, or run one or all of a project as DVC experiments. The working tree does not change.

python -m stages.experiments.run                           list all recipes
python -m stages.experiments.run mnist-adam                run one, seed after seed
python -m stages.experiments.run --all mnist --jobs 2      run all of a project through DVC's queue
python -m stages.experiments.run mnist-sweep --jobs 2      run a sweep; its best trial gets the sweep's name

Experiments already done with the working tree's code and parameters are skipped. To run failed ones again, repeat
the command.
"""

import argparse
import subprocess

from dvc.repo import Repo

from stages.common.errors import InputError
from stages.common.program import requires, run
from stages.experiments.records import recipes
from stages.experiments.records.done import is_done, known
from stages.experiments.records.recipes import Experiment
from stages.experiments.running import queue


def command(experiment: Experiment, way: str) -> list[str]:
    """Return the `dvc exp run` command for all stages of its project; ``way`` is --temp or --queue."""
    project = experiment.recipe.project
    settings = recipes.overrides(experiment.settings)
    return ["dvc", "exp", "run", way, "--name", experiment.name, *settings, f"deploy@{project}", f"plot@{project}"]


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


def main(recipe: str | None, all_of: str | None, settings: list[str], jobs: int | None) -> None:
    if recipe is None and all_of is None:
        show()
        return
    if jobs is not None and jobs < 1:
        raise InputError(f"--jobs {jobs} is not allowed: expected 1 or more")
    if recipe and recipes.named(recipe).sweep:
        with requires("ray", f"{recipe}, a sweep,"):
            from stages.experiments.sweeps import sweep  # imports Ray

        sweep.run(recipe, recipes.changes(settings), jobs)
        return
    names = [recipe] if recipe else one_by_one(all_of)
    if not names:
        projects = dict.fromkeys(entry.project for entry in recipes.read().values())
        raise InputError(f"{all_of!r} has no recipes: expected one of {', '.join(projects)}")
    repo = Repo()
    queue.give_up_killed(repo)
    experiments = [experiment for name in names for experiment in recipes.experiments(name, recipes.changes(settings))]
    finished = [experiment.name for experiment in experiments if is_done(repo, experiment)]
    if finished:
        print(f"already done: {', '.join(finished)}")
    tasks = queue.states(repo)
    for experiment in experiments:
        name = experiment.name
        if name in finished or tasks.get(name) in queue.WAITING:
            continue
        if name in known(repo) or name in tasks:  # it failed, or has other code or settings
            repo.experiments.remove([name])
        if subprocess.run(command(experiment, "--queue" if all_of else "--temp"), check=False).returncode:
            raise InputError(f"{name} failed, see above: fix the error, then run the same command again")
    queue.work(repo, experiments, jobs)
    project = experiments[0].recipe.project
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
