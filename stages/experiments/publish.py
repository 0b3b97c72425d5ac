"""Run recipes on real data with all their seeds, and keep the results in reports/published/.

    python -m stages.experiments.publish mnist-adam bikes-best -S data.source=../data

Each seed is a DVC experiment in a clone, removed once its results are read: the workspace and `dvc exp list` do not
change. At the end the documents' tables are updated.

With `--without-dvc`, the stages up to evaluate run by themselves in a temporary folder: for a rented machine with a
GPU, which has no DVC. Copy the file that it writes to your checkout, and update the tables with `make readme-table`.

With `--seeds`, only these run, and their results are added to those of the other seeds, which must have the same commit,
settings and hardware. So several processes can share the seeds of a recipe. For a new seed, add it to the recipe's `seeds`.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import yaml

from stages.common import config
from stages.common.errors import InputError
from stages.common.program import run
from stages.experiments.records import circumstances, published, recipes, runs
from stages.experiments.records.folder import Folder
from stages.experiments.records.git import git
from stages.experiments.records.published import PUBLISHED, Published
from stages.experiments.records.recipes import Experiment
from stages.experiments.records.runs import Run
from stages.experiments.running import clones

TEMPORARY = Path(".dvc/tmp/exps/publishing")
"""It is below `.dvc/tmp/exps/`, so that checkpoints and clock readings are kept in the checkout (`files.home`)."""

STEPS = ("prepare", "featurize", "train", "evaluate")
"""The stages that run without DVC, after `check`. The first two do not depend on the seed."""


def measure(
    name: str,
    changes: dict[str, Any],
    work: Callable[[Experiment], Run],
    options: list[str],
    seeds: list[int] | None = None,
) -> Iterator[Published]:
    """Run a recipe with this machine's ``changes``, such as where its data are.

    ``work`` runs one seed, ``options`` are those of the command that chose it, ``seeds`` those to run; None: all. Yields
    the results so far after each seed. Raises InputError if a seed fails, or is not one of the recipe's.
    """
    recipe, commit = recipes.named(name), head()
    if unknown := sorted(set(seeds or []) - set(recipe.seeds)):
        words = f"found {', '.join(map(str, unknown))}, expected some of {', '.join(map(str, recipe.seeds))}"
        raise InputError(
            f"--seeds for {name}: {words}. For another seed, add it to the recipe's `seeds` in recipes.yaml"
        )
    command = ["python", "-m", "stages.experiments.publish", name, *options, *recipes.overrides(changes)]
    done: list[Run] = []
    for one in recipes.experiments(name, changes):
        seed = one.seed
        if seeds is not None and seed not in seeds:
            continue
        try:
            done.append(work(one))
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
            command=shlex.join(command),
            date=circumstances.today(),
            hardware=", ".join([*gpus(done), circumstances.hardware()]),
            commit=commit,
            runs=list(done),
        )


def head() -> str:
    """Return the current commit, 10 digits."""
    return git("rev-parse", "--short=10", "HEAD")


def gpus(done: list[Run]) -> list[str]:
    """Return the names of the GPUs that trained, without repetition."""
    return sorted({run.training.get("device", "cpu") for run in done} - {"cpu"})


def experiment(one: Experiment, folder: Path) -> Run:
    """Run all stages of its project in a clone of the working tree, in ``folder``. Returns the results."""
    project = one.recipe.project
    clones.freeze(folder)
    copy, command, options = clones.prepared(folder.absolute(), one, [f"deploy@{project}"])
    memory = watched(command, **options)
    found = runs.of(Folder(copy), project, one.seed)
    shutil.rmtree(copy)
    if found is None:
        raise InputError(f"{one.name} wrote no metrics: see its output above")
    return found.model_copy(update={"memory_gb": memory})


def stages_alone(one: Experiment, folder: Path) -> Run:
    """Run the stages up to evaluate in ``folder``, without DVC. Returns the results."""
    memory = run_stages(one, folder)
    found = runs.of(Folder(folder), one.recipe.project, one.seed)
    assert found is not None  # evaluate ended without an error
    return found.model_copy(update={"memory_gb": memory})


def run_stages(one: Experiment, folder: Path, last: str = STEPS[-1]) -> float:
    """Run the stages up to ``last`` in ``folder``, without DVC, and return the peak memory in GB.

    An earlier seed's data there are used again.
    """
    project = one.recipe.project
    parameters = recipes.applied(config.read(), one.settings)
    (folder / config.PARAMETERS).write_text(yaml.safe_dump(parameters, sort_keys=False), encoding="utf-8")
    first = 2 if (folder / "data" / project / "features").exists() else 0
    modules = ["stages.check", *(f"stages.{project}.{step}" for step in STEPS[first : STEPS.index(last) + 1])]
    code = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": code}
    started = [clones.tied([sys.executable, "-m", module]) for module in modules]
    return max(watched(command, cwd=folder, env=environment, **options) for command, options in started)


def watched(command: list[str], **options: Any) -> float:
    """Run ``command`` and return the peak memory in GB (10^9 bytes) of it and all its child processes together.

    ``options`` are those of `subprocess.Popen`. Memory is read four times a second. Shared memory counts once per
    process. Raises CalledProcessError if it fails.
    """
    peak = 0
    with psutil.Popen(command, **options) as process:
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


def main(names: list[str], settings: list[str], without_dvc: bool, seeds: list[int] | None) -> None:
    changes, options = recipes.changes(settings), ["--without-dvc"] if without_dvc else []
    TEMPORARY.mkdir(parents=True, exist_ok=True)
    failures = []
    for name in {name: recipes.named(name) for name in names}:  # all of them exist
        with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=TEMPORARY) as folder:
            work = partial(stages_alone if without_dvc else experiment, folder=Path(folder))
            try:
                if seeds and (former := published.read(name)):
                    here = circumstances.hardware()
                    same = former.hardware if former.hardware.endswith(here) else here  # a GPU's name may be before it
                    own = recipes.named(name).set
                    published.require_same(former, settings=own, changes=changes, commit=head(), hardware=same)
                for result in measure(name, changes, work, options, seeds):
                    published.join(result) if seeds else published.write(result)
            except InputError as error:
                failures.append(str(error))
    if not without_dvc:
        from stages.experiments import documents  # needs DVC

        documents.main()
    if failures:
        raise InputError("; ".join(failures))


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="recipe")
    recipes.add_settings(parser)
    parser.add_argument("--without-dvc", action="store_true", help="run the stages up to evaluate by themselves")
    parser.add_argument(
        "--seeds", nargs="+", type=int, metavar="SEED", help="run only these, and keep the results of the others"
    )


if __name__ == "__main__":
    run(main, arguments)
