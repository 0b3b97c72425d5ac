"""Run recipes on real data with all their seeds, and keep the results in reports/published/.

    python -m stages.experiments.publish mnist-adam bikes-best -S data.source=../data

Each seed is a DVC experiment in a temporary copy, removed once its results are read: the workspace and `dvc exp list`
do not change. At the end the documents' tables are updated.
"""

import argparse
import secrets
import shlex
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import psutil
from dvc.repo import Repo

from stages.common.errors import InputError
from stages.common.program import run
from stages.experiments import documents
from stages.experiments.records import circumstances, published, recipes, runs
from stages.experiments.records.git import git
from stages.experiments.records.published import PUBLISHED, Published
from stages.experiments.records.recipes import Experiment, Recipe
from stages.experiments.records.revisions import Revision
from stages.experiments.records.runs import Run


def measure(name: str, recipe: Recipe, changes: dict[str, Any]) -> Iterator[Published]:
    """Run a recipe with this machine's ``changes``, such as where its data are.

    Yields the results so far after each seed. Raises InputError if a seed fails.
    """
    commit = git("rev-parse", "--short=10", "HEAD")
    done: list[Run] = []
    for one in recipes.experiments(name, changes):
        seed = one.settings[f"{recipe.project}.seed"]
        try:
            done.append(experiment(one, seed))
        except subprocess.CalledProcessError as error:
            kept = f"{PUBLISHED / name}.json has the earlier seeds" if done else "no results were saved"
            raise InputError(
                f"{name}: seed {seed} failed with exit code {error.returncode}, see above: {kept}"
            ) from None
        yield Published(
            recipe=name,
            description=recipe.description,
            settings=recipe.set,
            published=recipe.published,
            changes=changes,
            command=shlex.join(["python", "-m", "stages.experiments.publish", name, *recipes.overrides(changes)]),
            date=circumstances.today(),
            hardware=circumstances.hardware(),
            commit=commit,
            runs=list(done),
        )


def experiment(one: Experiment, seed: int) -> Run:
    """Run all stages of its project as a temporary experiment. Returns the results; the experiment is removed."""
    project, temporary = one.recipe.project, f"publishing-{one.name}-{secrets.token_hex(4)}"
    command = [
        "dvc",
        "exp",
        "run",
        "--temp",
        "--name",
        temporary,
        *recipes.overrides(one.settings),
        f"deploy@{project}",
    ]
    with Repo() as repo:
        try:
            memory = watched(command)
            found = runs.of(Revision(temporary), project, seed)
        finally:
            if any(temporary == listed for some in repo.experiments.ls().values() for listed, _ in some):
                repo.experiments.remove([temporary])
    if found is None:
        raise InputError(f"{one.name} wrote no metrics: see its output above")
    return found.model_copy(update={"memory_gb": memory})


def watched(command: list[str]) -> float:
    """Run ``command`` and return the peak memory in GB (10^9 bytes) of it and all its child processes together.

    Memory is read four times a second. Shared memory counts once per process. Raises CalledProcessError if it fails.
    """
    peak = 0
    with psutil.Popen(command) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(resident, [process, *process.children(recursive=True)])))
            time.sleep(0.25)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return round(peak / 1e9, 3)


def resident(process: psutil.Process) -> int:
    """Return the bytes that a process holds in memory; 0 if it has just ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def main(names: list[str], settings: list[str]) -> None:
    changes = recipes.changes(settings)
    failures = []
    for name, recipe in {name: recipes.named(name) for name in names}.items():
        try:
            for result in measure(name, recipe, changes):
                published.write(result)
        except InputError as error:
            failures.append(str(error))
    documents.main()
    if failures:
        raise InputError("; ".join(failures))


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="recipe")
    recipes.add_settings(parser)


if __name__ == "__main__":
    run(main, arguments)
