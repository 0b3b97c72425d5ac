"""Runs recipes on real data, over all their seeds, and keeps what they reached in reports/published/.

    python -m stages.experiments.publish mnist-adam bikes-best -S data.source=../data

Each seed is a DVC experiment in a temporary copy, removed once it is read: the workspace and `dvc exp list` stay as they are. The
documents' tables are renewed at the end.
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

from stages.common.program import InputError, run
from stages.experiments import documents
from stages.experiments.records import circumstances, published, recipes, runs
from stages.experiments.records.published import PUBLISHED, Published
from stages.experiments.records.recipes import Experiment, Recipe
from stages.experiments.records.revisions import Revision
from stages.experiments.records.runs import Run


def measure(name: str, recipe: Recipe, changes: dict[str, Any]) -> Iterator[Published]:
    """What a recipe reaches with the ``changes`` of this machine, its data above all; again after each seed, with one run more. Raises InputError where a seed fails."""
    commit = subprocess.check_output(["git", "rev-parse", "--short=10", "HEAD"], text=True).strip()
    done: list[Run] = []
    for one in recipes.experiments(name, changes):
        seed = one.settings[f"{recipe.project}.seed"]
        try:
            done.append(experiment(one, seed))
        except subprocess.CalledProcessError as error:
            kept = f"{PUBLISHED / name}.json holds the seeds before it" if done else "nothing of it is kept"
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
    """Run all of its project's cells; what it left, of an experiment that is removed again."""
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
        raise InputError(f"{one.name} left no metrics")
    return found.model_copy(update={"memory_gb": memory})


def watched(command: list[str]) -> float:
    """Run ``command``; the most memory in GB (10^9 bytes) that it and the processes below it held at once.

    Looked at four times a second; memory that processes share counts for each. Raises CalledProcessError if it fails.
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
    """Bytes in memory; 0 for a process that has just ended."""
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
